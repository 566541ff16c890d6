// The page: two tabs, each with its own script, and a line of news that screen readers speak.
import { byId } from "./dom.js";
import { startLive } from "./live.js";
import { startRecording } from "./recording.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function show(tab) {
  for (const each of tabs) {
    const shown = each === tab;
    each.setAttribute("aria-selected", shown);
    each.tabIndex = shown ? 0 : -1;
    byId(each.getAttribute("aria-controls")).hidden = !shown;
  }
}

for (const tab of tabs) {
  tab.addEventListener("click", () => show(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    show(next);
    next.focus();
  });
}

startLive();
startRecording();
