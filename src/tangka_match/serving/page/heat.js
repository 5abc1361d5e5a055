// Heat map of region weights over a picture: regions with low weights are darkened, those with high ones glow.
const GRID = 72; // cells along the width
const VEIL = 0.66; // darkness of regions without weight
const GLOW = [255, 196, 92];

// `strength` in [0, 1] fades the map of a picture in which the word has little effect.
export function drawHeat(canvas, boxes, weights, ratio, strength) {
  const width = GRID;
  const height = Math.max(1, Math.round(GRID * ratio));
  const heat = heatOf(boxes, weights, width, height);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let cell = 0; cell < heat.length; cell += 1) {
    const value = heat[cell];
    const dark = value < 0.5;
    for (let channel = 0; channel < 3; channel += 1) pixels.data[4 * cell + channel] = dark ? 12 : GLOW[channel];
    pixels.data[4 * cell + 3] = 255 * (dark ? VEIL * (1 - 2 * value) : 0.34 * (2 * value - 1));
  }
  context.putImageData(pixels, 0, 0);
  canvas.style.opacity = strength;
}

export function hideHeat(canvas) {
  canvas.style.opacity = 0;
}

// The heat of a cell is the sum of the weights of the regions over it, scaled to [0, 1].
function heatOf(boxes, weights, width, height) {
  const heat = new Float32Array(width * height);
  boxes.forEach(([left, top, right, bottom], region) => {
    const weight = weights[region];
    if (!weight) return;
    for (let y = Math.floor(top * height); y < Math.ceil(bottom * height); y += 1) {
      for (let x = Math.floor(left * width); x < Math.ceil(right * width); x += 1) heat[y * width + x] += weight;
    }
  });
  const smooth = blur(heat, width, height);
  const low = smooth.reduce((a, b) => Math.min(a, b), Infinity);
  const high = smooth.reduce((a, b) => Math.max(a, b), -Infinity);
  return high > low ? smooth.map((value) => (value - low) / (high - low)) : smooth.fill(0);
}

function blur(heat, width, height, radius = 2) {
  const result = new Float32Array(heat.length);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      let sum = 0;
      let cells = 0;
      for (let dy = -radius; dy <= radius; dy += 1) {
        for (let dx = -radius; dx <= radius; dx += 1) {
          const [row, column] = [y + dy, x + dx];
          if (row < 0 || column < 0 || row >= height || column >= width) continue;
          sum += heat[row * width + column];
          cells += 1;
        }
      }
      result[y * width + x] = sum / cells;
    }
  }
  return result;
}
