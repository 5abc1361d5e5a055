// Statistics over runs.

/** Return the mean; null without values. */
export function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

/** Return the sample standard deviation (divisor n - 1); null below two values. */
export function std(values) {
  if (values.length < 2) return null;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

/** Return the exponential moving average, bias-corrected as in Adam. */
export function smooth(values, weight) {
  if (!weight) return values;
  let average = 0;
  let share = 0;
  return values.map((value) => {
    average = weight * average + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return average / share;
  });
}

/** Interpolate a curve linearly at x; null outside its range. */
export function valueAt(xs, ys, x) {
  const last = xs.length - 1;
  if (last < 0 || x < xs[0] || x > xs[last]) return null;
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle;
    else high = middle;
  }
  const span = xs[high] - xs[low];
  return span ? ys[low] + ((ys[high] - ys[low]) * (x - xs[low])) / span : ys[high];
}

/** Return the mean and standard deviation of several curves on their common range, at up to `most` points. */
export function meanCurve(curves, most = 400) {
  const start = Math.max(...curves.map(([xs]) => xs[0]));
  const end = Math.min(...curves.map(([xs]) => xs[xs.length - 1]));
  let places = [...new Set(curves.flatMap(([xs]) => xs))].filter((x) => x >= start && x <= end).sort((a, b) => a - b);
  const step = Math.ceil(places.length / most);
  if (step > 1) places = places.filter((_, n) => n % step === 0 || n === places.length - 1);
  const columns = places.map((x) => curves.map(([xs, ys]) => valueAt(xs, ys, x)));
  return { xs: places, means: columns.map(mean), stds: columns.map(std) };
}

/**
 * Return the share of the variance of a result that a single setting explains, in [0, 1]: Kelley's epsilon squared of a
 * one-way analysis of variance, the between-level share of the sum of squares corrected for chance.
 * Numbers with more than six values are binned into quartiles. Interactions are ignored.
 * Null with a single level, or without a level with two runs.
 */
export function importance(settings, results) {
  const levels = groupBy(levelsOf(settings), results);
  const count = results.length;
  const freedom = count - levels.length;
  if (levels.length < 2 || freedom < 1) return null;
  const middle = mean(results);
  const total = results.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  if (total === 0) return null;
  const between = levels.reduce((sum, level) => sum + level.length * (mean(level) - middle) ** 2, 0);
  const noise = (total - between) / freedom;
  return Math.max(0, (between - (levels.length - 1) * noise) / total);
}

function levelsOf(settings) {
  const isNumeric = settings.every((value) => typeof value === "number");
  if (!isNumeric || new Set(settings).size <= 6) return settings.map(String);
  const order = [...settings].sort((a, b) => a - b);
  const cuts = [1, 2, 3].map((quarter) => order[Math.floor((quarter * order.length) / 4)]);
  return settings.map((value) => String(cuts.filter((cut) => value >= cut).length));
}

function groupBy(keys, values) {
  const groups = new Map();
  keys.forEach((key, n) => groups.set(key, [...(groups.get(key) ?? []), values[n]]));
  return [...groups.values()];
}

/** Return Spearman's rank correlation, with mean ranks for ties; null if one side is constant. */
export function rankCorrelation(left, right) {
  const [a, b] = [ranks(left), ranks(right)];
  const [meanA, meanB] = [mean(a), mean(b)];
  let [product, squareA, squareB] = [0, 0, 0];
  a.forEach((rank, n) => {
    product += (rank - meanA) * (b[n] - meanB);
    squareA += (rank - meanA) ** 2;
    squareB += (b[n] - meanB) ** 2;
  });
  return squareA && squareB ? product / Math.sqrt(squareA * squareB) : null;
}

function ranks(values) {
  const order = values.map((value, n) => [value, n]).sort((a, b) => a[0] - b[0]);
  const found = new Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end < order.length && order[end][0] === order[start][0]) end += 1;
    for (let n = start; n < end; n += 1) found[order[n][1]] = (start + end - 1) / 2;
    start = end;
  }
  return found;
}

/** Return the Pareto-optimal points: no other point is at least as good in cost and gain, and better in one. */
export function paretoFront(points) {
  const order = points.map((point, n) => ({ ...point, n })).sort((a, b) => a.cost - b.cost || b.gain - a.gain);
  const front = [];
  let best = -Infinity;
  let cost = null;
  for (const point of order) {
    if (point.gain > best || (point.gain === best && point.cost === cost)) {
      front.push(point.n);
      best = point.gain;
      cost = point.cost;
    }
  }
  return front;
}
