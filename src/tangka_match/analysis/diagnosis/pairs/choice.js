// The pairs that are struck out. They are kept in the browser, so that a long list can be worked through in parts.

/** The content of the page. */
export const data = JSON.parse(document.getElementById("pairs").textContent);

const KEY = `tangka_match.pairs.${data.key}`;
const lines = new Set(remembered() ?? data.rows.filter((row) => row.struck).map((row) => row.line));

function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(kept) ? kept : null;
  } catch {
    return null; // storage is switched off, or not ours
  }
}

/** Whether a pair is struck out. */
export function isStruck(row) {
  return lines.has(row.line);
}

/** Strike out a pair, or take it back. */
export function strike(row, struck) {
  if (struck) lines.add(row.line);
  else lines.delete(row.line);
  try {
    localStorage.setItem(KEY, JSON.stringify([...lines]));
  } catch {
    // without storage the choice lasts as long as the page is open
  }
}

/** Return the lines of the file for `data.exclude`: those struck out before and not shown here, then those of the page. */
export function excludeLines() {
  return [...data.kept, ...data.rows.filter(isStruck).map((row) => row.line)];
}
