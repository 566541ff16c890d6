// A recording of what was around and what was heard, to listen to and to keep.
import { wavOf } from "./wav.js";

const MOST_S = 300;

export class Take {
  constructor(rate) {
    this.rate = rate;
    this.seconds = 0;
    this.sounds = { around: [], heard: [] };
    this.begun = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  }

  // Takes chunks of the same time; false when it is full.
  push(before, after) {
    this.sounds.around.push(before);
    this.sounds.heard.push(after);
    this.seconds += before.length / 2 / this.rate;
    return this.seconds < MOST_S;
  }

  // A row for the page, unless nothing was recorded.
  done() {
    if (!this.sounds.around.length) return [];
    const row = document.createElement("div");
    row.className = "take";
    for (const [what, chunks] of Object.entries(this.sounds)) {
      const line = document.createElement("div"), player = document.createElement("audio");
      line.className = "row";
      player.controls = true;
      player.ariaLabel = what === "around" ? "What was around you" : "What you heard";
      player.src = URL.createObjectURL(wavOf(chunks, this.rate));
      const keep = Object.assign(document.createElement("a"), {
        className: "button", href: player.src, download: `${this.begun}-${what}.wav`,
        textContent: what === "around" ? "Download around" : "Download heard",
      });
      line.append(player, keep);
      row.append(line);
    }
    return [row];
  }
}
