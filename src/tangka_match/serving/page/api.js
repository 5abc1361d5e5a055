// Requests to the server; the answer to an outdated request is dropped.
import { label } from "./labels.js";

const running = new Map();

export async function get(path, values = {}) {
  return ask(`${path}?${new URLSearchParams(values)}`, {});
}

export async function latest(kind, work) {
  running.get(kind)?.abort();
  const controller = new AbortController();
  running.set(kind, controller);
  try {
    return await work();
  } finally {
    // An outdated answer, or error, must not replace the newer one.
    if (controller.signal.aborted) throw new DOMException("replaced by a newer request", "AbortError");
  }
}

export async function send(path, body) {
  return ask(path, { method: "POST", body });
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error(label("offline"));
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export function pictureAddress(imageId) {
  return `/api/picture?${new URLSearchParams({ image_id: imageId })}`;
}
