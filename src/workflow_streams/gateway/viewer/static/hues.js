/** Gives each topic a colour: always the same if possible, and different from other topics'. */

export const HUES = 10;

function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h ^ (h >>> 15)) >>> 0;
}

export class Hues {
  constructor() {
    this._of = new Map();
    this._used = new Array(HUES).fill(0);
  }

  /** Return the number of the topic's colour, 0 to `HUES - 1`. */
  of(topic) {
    const known = this._of.get(topic);
    if (known !== undefined) return known;
    let hue = hash(topic) % HUES;
    const least = Math.min(...this._used);
    while (this._used[hue] > least) hue = (hue + 1) % HUES;
    this._used[hue] += 1;
    this._of.set(topic, hue);
    return hue;
  }
}
