// Requests to the server; a newer request of the same kind cancels the older one.
import { label } from "./labels.js";

const running = new Map();

export async function get(path, values = {}) {
  return ask(`${path}?${new URLSearchParams(values)}`, {});
}

export async function latest(kind, work) {
  running.get(kind)?.abort();
  const controller = new AbortController();
  running.set(kind, controller);
  const result = await work();
  if (controller.signal.aborted) throw new DOMException("replaced by a newer request", "AbortError");
  return result;
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
