// The tab for recordings: choose a file and the stretch of the look; hear, see and keep the result.
import { byId, onDecibels, tell } from "./dom.js";
import { drawWhole } from "./spectrogram.js";

const VIEW_HZ = 16000; // rate of what is drawn; the server gets the file as it is
const LEAST_LOOK_S = 1, MOST_LOOK_S = 60, FIRST_LOOK_S = 5;

let file = null, original = null; // original: address of the file, to play
let duration = 0;
let result = null;
let background = null;
let asked = null; // AbortController of the request under way

const decode = async (blob) => new OfflineAudioContext(2, 1, VIEW_HZ).decodeAudioData(await blob.arrayBuffer());

export function startRecording() {
  const drop = byId("drop");
  byId("file").addEventListener("change", ({ target }) => target.files[0] && choose(target.files[0]));
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
  });
  for (const id of ["from", "to"]) byId(id).addEventListener("input", showStretch);
  onDecibels(byId("rest"), (db) => (background = db));
  byId("hear").addEventListener("click", hearStretch);
  byId("extract").addEventListener("click", extract);
  byId("cancel").addEventListener("click", () => asked?.abort());
  byId("compare").addEventListener("click", compare);
  dragStretch();
}

async function choose(chosen) {
  let sound;
  try {
    sound = await decode(chosen);
  } catch {
    tell(`${chosen.name}: expected a sound file that this browser can play, found something else.`);
    return;
  }
  file = chosen;
  URL.revokeObjectURL(original);
  original = URL.createObjectURL(file);
  duration = sound.duration;
  byId("title").textContent = `${file.name}, ${duration.toFixed(1)} s`;
  byId("chosen").hidden = false;
  byId("result").hidden = true;
  for (const id of ["from", "to"]) byId(id).max = duration.toFixed(1);
  setStretch(0, Math.min(FIRST_LOOK_S, duration));
  drawWhole(byId("whole"), sound);
  tell("Choose the stretch in which you look at the person.");
}

// ---- the stretch

const stretch = () => {
  const [from, to] = [Number(byId("from").value), Number(byId("to").value)];
  return { start: Math.min(from, to), seconds: Math.abs(to - from) };
};

function setStretch(from, to) {
  byId("from").value = from.toFixed(1);
  byId("to").value = to.toFixed(1);
  showStretch();
}

function showStretch() {
  const { start, seconds } = stretch();
  byId("selection").style.left = `${(100 * start) / duration}%`;
  byId("selection").style.width = `${(100 * seconds) / duration}%`;
  byId("extract").disabled = !(seconds >= LEAST_LOOK_S && seconds <= MOST_LOOK_S && start + seconds <= duration + 0.1);
}

function dragStretch() {
  const area = byId("whole").parentElement;
  let begin = null;
  const at = (event) => {
    const { left, width } = area.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - left) / width, 0), 1) * duration;
  };
  area.addEventListener("pointerdown", (event) => {
    area.setPointerCapture(event.pointerId);
    begin = at(event);
  });
  area.addEventListener("pointermove", (event) => {
    if (begin !== null) setStretch(Math.min(begin, at(event)), Math.max(begin, at(event)));
  });
  area.addEventListener("pointerup", () => (begin = null));
}

function hearStretch() {
  const { start, seconds } = stretch(), player = new Audio(original);
  player.currentTime = start;
  player.ontimeupdate = () => player.currentTime >= start + seconds && player.pause();
  player.play();
}

// ---- the result

async function extract() {
  const { start, seconds } = stretch(), query = new URLSearchParams(location.search);
  query.set("start", start);
  query.set("seconds", seconds);
  if (background !== null) query.set("background", background);
  asked = new AbortController();
  byId("extract").disabled = true;
  byId("cancel").hidden = false;
  tell("Extracting.");
  try {
    const answer = await fetch(`/extract?${query}`, { method: "POST", body: file, signal: asked.signal });
    if (!answer.ok) throw new Error(await reason(answer));
    await showResult(await answer.blob(), JSON.parse(answer.headers.get("X-Verdict")));
  } catch (problem) {
    tell(problem.name === "AbortError" ? "Cancelled." : problem.message);
  }
  byId("cancel").hidden = true;
  showStretch();
}

async function reason(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return text;
  }
}

async function showResult(blob, verdict) {
  URL.revokeObjectURL(result);
  result = URL.createObjectURL(blob);
  byId("player").src = result;
  byId("compare").setAttribute("aria-pressed", false);
  byId("download").href = result;
  byId("download").download = `${file.name.replace(/\.[^.]*$/, "")}-heard.wav`;
  byId("result").hidden = false;
  drawWhole(byId("heard"), await decode(blob));
  tell(verdict.ok ? "Done: the result is below." : `Done, but the look may not do: ${verdict.warnings.join("; ")}.`);
}

// Changes over at the same place.
function compare() {
  const player = byId("player"), playing = !player.paused, time = player.currentTime;
  const on = byId("compare").getAttribute("aria-pressed") !== "true";
  byId("compare").setAttribute("aria-pressed", on);
  player.src = on ? original : result;
  player.currentTime = time;
  if (playing) player.play();
}
