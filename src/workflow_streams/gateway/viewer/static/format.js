/** Formats numbers, sizes and times for people. */

const NUMBER = new Intl.NumberFormat("en-US");
const SIZES = ["B", "kB", "MB", "GB"];

export function count(n, one, many = `${one}s`) {
  return `${NUMBER.format(n)} ${n === 1 ? one : many}`;
}

export function number(n) {
  return NUMBER.format(n);
}

/** A number in at most four characters or so: 950, 12.3k, 4M. */
export function short(n) {
  if (n < 1000) return String(Math.round(n));
  const [scaled, unit] = n < 999_950 ? [n / 1000, "k"] : [n / 1e6, "M"];
  return scaled < 99.95 ? scaled.toFixed(1).replace(/\.0$/, "") + unit : Math.round(scaled) + unit;
}

export function rate(perSecond) {
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.1) return "<0.1/s";
  return perSecond < 10 ? `${perSecond.toFixed(1).replace(/\.0$/, "")}/s` : `${short(perSecond)}/s`;
}

export function size(bytes) {
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < SIZES.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${SIZES[unit]}`;
}

const two = (n) => String(n).padStart(2, "0");

/** Time of day, to the millisecond, in the viewer's time zone. */
export function clock(milliseconds) {
  if (milliseconds === null) return "";
  const t = new Date(milliseconds);
  const fraction = String(t.getMilliseconds()).padStart(3, "0");
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}.${fraction}`;
}

/** Date and time of day, where the day matters. */
export function moment(milliseconds) {
  if (milliseconds === null) return "";
  const t = new Date(milliseconds);
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock(milliseconds)}`;
}

/** How long ago, in the largest unit: 5 s, 12 min, 3 h, 9 d. */
export function ago(milliseconds, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - milliseconds) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** The name of an outcome for people: `timed_out` is "timed out". */
export function outcome(name) {
  return String(name).replaceAll("_", " ");
}
