/** What this browser remembers of its reader's choices. */

const PREFIX = "workflow-streams.";

/** Return what was remembered; null without it, or where the browser does not let pages. */
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
    // Then it holds until the page is closed.
  }
}
