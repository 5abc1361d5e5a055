// Scales from values to pixels.

/** Choose round tick values that divide a range into three to eight parts. */
export function ticks(low, high, parts = 5) {
  const raw = (high - low) / parts;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let n = first; n * step <= high + step * 1e-9; n += 1) found.push(Number((n * step).toPrecision(12)));
  return found;
}

/** Choose logarithmic ticks: 1, 2 and 5 times powers of ten, or powers only if the range is wide. */
export function logTicks(low, high) {
  const factors = Math.log10(high / low) < 3 ? [1, 2, 5] : [1];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of factors) {
      const value = Number((factor * 10 ** power).toPrecision(3));
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found.length > 1 ? found : [low, high];
}

/** Extend a range by a margin; the result is never empty. */
export function padded(low, high, share = 0.05) {
  if (!(low <= high)) return [0, 1];
  const room = (high - low) * share || Math.abs(low) * 0.1 || 0.5;
  return [low - room, high + room];
}

/** Scale for numbers: `at` maps to pixels, `from` is its inverse, `ticks` are the values to label. */
export function numericScale(low, high, start, end, isLog = false) {
  const [a, b] = isLog ? [Math.log10(low), Math.log10(high)] : [low, high];
  const at = (value) => start + (((isLog ? Math.log10(value) : value) - a) / (b - a)) * (end - start);
  const from = (pixel) => {
    const value = a + ((pixel - start) / (end - start)) * (b - a);
    return isLog ? 10 ** value : value;
  };
  return { at, from, ticks: isLog ? logTicks(low, high) : ticks(low, high) };
}

/**
 * Scale for settings. Numbers are placed to scale, logarithmically if they span decades; with `isExact`, up to six
 * distinct numbers are the ticks. Other values are spaced evenly.
 */
export function settingScale(values, start, end, isExact = true) {
  const isNumeric = values.length > 0 && values.every((value) => typeof value === "number");
  if (!isNumeric) {
    const names = [...new Set(values.map(String))].sort();
    const step = (end - start) / names.length;
    const place = (value) => start + (names.indexOf(String(value)) + 0.5) * step;
    return { at: place, ticks: names, isNumeric };
  }
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const isLog = low > 0 && high / low >= 20;
  const distinct = [...new Set(values)].sort((a, b) => a - b);
  const [from, to] = isLog ? [low / (high / low) ** 0.05, high * (high / low) ** 0.05] : padded(low, high);
  const scale = numericScale(from, to, start, end, isLog);
  return { ...scale, ticks: isExact && distinct.length <= 6 ? distinct : scale.ticks, isNumeric };
}
