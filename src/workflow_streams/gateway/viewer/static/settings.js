/** The user's choices, as this browser remembers them. */

const PREFIX = "workflow-streams.";

/** Return what was remembered; null if there is nothing, or if the browser forbids storage. */
export function recall(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // Then the choice is kept only until the page is closed.
  }
}
