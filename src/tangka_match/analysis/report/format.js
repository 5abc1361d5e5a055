// Formatting of numbers, times and settings.

const WHOLE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

/** Format a number with `digits` significant digits: 0.00012, 3.14, 1,234. */
export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(digits - 1).replace(/\.?0+e/, "e");
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(digits))} M`;
  if (size >= 1e3) return WHOLE.format(value);
  return String(Number(value.toPrecision(size >= 100 ? Math.max(4, digits) : digits)));
}

/** Format a metric: recalls with two decimals, rsum and ranks with one. */
export function metricText(name, value) {
  if (value === null || value === undefined) return "–";
  return value.toFixed(name === "rsum" || name.endsWith("_rank") ? 1 : 2);
}

/** Format a difference with its sign (U+2212 for minus). */
export function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value > 0 ? "+" : "−") + text;
}

/** Format seconds: 45 s, 12 min, 3 h 5 min, 2 d 4 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${number(seconds * 1000, 2)} ms`;
  if (seconds < 100) return `${number(seconds, 2)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Format a time in the time zone of the reader. */
export function moment(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const date = new Date(seconds * 1000);
  const two = (part) => String(part).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** Format a setting. */
export function setting(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? number(value, 4) : String(value);
}

/** Format a p-value: 0.9, 0.049, < 0.001. */
export function pText(p) {
  if (p < 0.001) return "p < 0.001";
  return `p = ${p.toFixed(p >= 0.1 ? 1 : 3)}`;
}
