// The look: hold the button, or the space bar; a screen reader clicks it twice.
import { byId, tell } from "./dom.js";

const MOST_S = 5;
const LEAST_S = 1.9; // 2, and what is reported up to 0.1 s late

export class Look {
  // say: sends a message to the server.
  constructor(say) {
    this.say = say;
    this.button = byId("look");
    this.looking = false;
    this.seconds = 0;
    this.steer();
  }

  begin() {
    if (this.looking || this.button.disabled) return;
    this.looking = true;
    this.seconds = 0;
    this.say({ do: "look" });
    tell("Looking. Hold for two to five seconds.");
  }

  end() {
    if (!this.looking) return;
    this.cancel();
    if (this.seconds < LEAST_S) {
      tell(`That was ${this.seconds.toFixed(1)} s: look for two seconds at least.`);
      return;
    }
    tell("Enrolling.");
    this.say({ do: "enroll", name: byId("name").value.trim() });
    byId("name").value = "";
  }

  cancel() {
    this.looking = false;
    this.button.style.setProperty("--held", 0);
    this.button.lastChild.textContent = "hold 2 to 5 s";
  }

  // By the sound that has come, not by the clock: it is what the person is enrolled from.
  show(seconds) {
    if (!this.looking || seconds === null) return;
    this.seconds = seconds;
    this.button.style.setProperty("--held", Math.min(seconds / MOST_S, 1));
    this.button.lastChild.textContent = `${Math.max(0, MOST_S - seconds).toFixed(1)} s left`;
    if (seconds >= MOST_S) this.end();
  }

  steer() {
    const button = this.button, isPress = ({ key }) => key === "Enter" || key === " ";
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.begin();
    });
    for (const end of ["pointerup", "pointercancel"]) button.addEventListener(end, () => this.end());
    // Screen readers click without a pointer: once to begin, once to end.
    button.addEventListener("click", (event) => {
      if (event.detail === 0 && event.pointerType !== "mouse") this.looking ? this.end() : this.begin();
    });
    button.addEventListener("keydown", (event) => {
      if (!isPress(event)) return;
      event.preventDefault(); // no click of the key's own
      if (!event.repeat) this.begin();
    });
    button.addEventListener("keyup", (event) => {
      if (!isPress(event)) return;
      event.preventDefault();
      this.end();
    });
    window.addEventListener("blur", () => this.end());
  }
}
