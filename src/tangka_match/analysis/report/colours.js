// Colours of runs and of results.

/** Ten colours that also differ in lightness (after Tableau 10). */
export const PALETTE = [
  "#3465a4", "#d1701c", "#1a7f4b", "#b3261e", "#8a3fa0", "#7a5a3a", "#c2528b", "#5f6b7a", "#8d8a12", "#1590a8",
];

const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [222, 200, 32]];

/** Sequential colour map from dark to bright, after viridis; `share` in [0, 1]. */
export function ramp(share) {
  const place = Math.min(0.9999, Math.max(0, share)) * (RAMP.length - 1);
  const [from, to] = [RAMP[Math.floor(place)], RAMP[Math.floor(place) + 1]];
  const mixed = from.map((part, n) => Math.round(part + (to[n] - part) * (place % 1)));
  return `rgb(${mixed.join(",")})`;
}

/** CSS gradient of the colour map from dark to bright, or reversed. */
export function rampGradient(isReversed) {
  const stops = RAMP.map((colour) => `rgb(${colour.join(",")})`);
  return `linear-gradient(to right,${(isReversed ? stops.reverse() : stops).join(",")})`;
}
