// The live tab: microphone -> audio thread -> worker -> server and back, and what steers it.
import { byId, onDecibels, tell } from "./dom.js";
import { Look } from "./look.js";
import { listDevices, openMicrophone } from "./microphone.js";
import { showPeople } from "./people.js";
import { LiveSpectrogram } from "./spectrogram.js";
import { Take } from "./takes.js";

const RETRY_MS = 2000, SHOW_MS = 20;
const address = (path) => `${location.origin.replace(/^http/, "ws")}${path}${location.search}`;

let hello = null; // what the server said first, and chunkMs; null while not connected
let worker = null; // exists while the user listens
let audio = null; // {context, source, node, stream}
let status = {};
let wanted = { select: null, background: null, bypass: false, mute: false }; // said again after a reconnection
let take = null;
let spectrograms = null;

const say = (message) => worker?.postMessage({ say: message });
const look = new Look(say);

export function startLive() {
  byId("listen").addEventListener("click", () => (worker ? stop("Stopped.") : start()));
  byId("bypass").addEventListener("click", () => toggle("bypass"));
  byId("mute").addEventListener("click", () => toggle("mute"));
  byId("record").addEventListener("click", record);
  onDecibels(byId("background"), (db) => {
    wanted.background = db;
    say({ do: "background", db });
  });
  byId("microphone").addEventListener("change", () => worker && hear());
  byId("headphones").addEventListener("change", () => audio?.context.setSinkId?.(byId("headphones").value));
  navigator.mediaDevices?.addEventListener("devicechange", devicesChanged);
  steerKeys();
}

// ---- connection

function start() {
  worker = new Worker(new URL("socket.js", import.meta.url));
  worker.onmessage = ({ data }) => {
    if (data.text) receive(data.text);
    else if (data.closed) lost();
    else {
      data.fresh.forEach(heard);
      setTimeout(() => worker?.postMessage({ next: true }), SHOW_MS);
    }
  };
  byId("listen").textContent = "Stop listening";
  tell("Connecting.");
  connect();
}

const connect = () => worker?.postMessage({ open: address("/live") });

function lost() {
  hello = null;
  if (!worker) return;
  tell("The connection to hearable is lost; trying again.");
  setTimeout(connect, RETRY_MS);
}

function stop(reason) {
  if (worker) {
    worker.onmessage = null; // what is still under way is of no interest
    worker.postMessage({ close: true });
  }
  worker = hello = null;
  look.cancel();
  if (take) record();
  closeAudio();
  enable(false);
  byId("listen").textContent = "Start listening";
  tell(reason);
}

function receive(message) {
  if (message.hello) greeted(message.hello);
  else if (message.status) show(message.status);
  else if (message.verdict) judge(message.verdict);
  else if (message.problem) tell(message.problem);
  else if (message.refused) stop(message.refused);
}

async function greeted(greeting) {
  hello = { ...greeting, chunkMs: (1000 * greeting.chunk_samples) / greeting.rate };
  if (audio) tell("Connected again.");
  else await hear();
  if (!worker) return;
  say({ do: "select", name: wanted.select });
  say({ do: "background", db: wanted.background });
  for (const what of ["bypass", "mute"]) say({ do: what, on: wanted[what] });
}

// ---- sound

async function hear() {
  closeAudio();
  try {
    const stream = await openMicrophone(byId("microphone").value);
    audio = await openAudio(stream);
    stream.getAudioTracks()[0].onended = () => tell("The microphone is gone: connect it again.");
    await listDevices({ audioinput: byId("microphone"), audiooutput: byId("headphones") });
    tell("You hear everything around you. Look at somebody to hear only them.");
    enable(true);
    if (document.activeElement === byId("listen")) byId("look").focus(); // the next press of space is a look
  } catch (problem) {
    stop(problem.message);
  }
}

async function openAudio(stream) {
  const context = new AudioContext({ sampleRate: hello.rate, latencyHint: "interactive" });
  try {
    await context.audioWorklet.addModule(new URL("ears.js", import.meta.url));
    const source = context.createMediaStreamSource(stream);
    const node = new AudioWorkletNode(context, "ears", {
      outputChannelCount: [2],
      channelCount: 2,
      channelCountMode: "explicit",
      channelInterpretation: "discrete",
      processorOptions: { chunkSamples: hello.chunk_samples },
    });
    node.port.onmessage = ({ data }) => showBuffer(data);
    const { port1, port2 } = new MessageChannel();
    node.port.postMessage(port1, [port1]);
    worker.postMessage({ listen: port2 }, [port2]);
    source.connect(node).connect(context.destination);
    if (byId("headphones").value) await context.setSinkId?.(byId("headphones").value);
    await context.resume();
    spectrograms ??= ["before", "after"].map((id) => new LiveSpectrogram(byId(id), hello.rate));
    return { context, stream };
  } catch (problem) {
    stream.getTracks().forEach((track) => track.stop());
    context.close();
    throw new Error(
      problem.name === "NotSupportedError"
        ? `This browser cannot take the microphone at ${hello.rate} Hz: use Chromium, Chrome or Edge.`
        : `Sound cannot be started: ${problem.message}`,
    );
  }
}

function closeAudio() {
  audio?.stream.getTracks().forEach((track) => track.stop());
  audio?.context.close();
  audio = null;
}

async function devicesChanged() {
  await listDevices({ audioinput: byId("microphone"), audiooutput: byId("headphones") });
  if (worker && audio?.stream.getAudioTracks()[0].readyState === "ended") await hear();
}

function heard({ before, after, tripMs }) {
  spectrograms[0].push(before);
  spectrograms[1].push(after);
  hello && (hello.tripMs = tripMs);
  if (!take) return;
  if (!take.push(before, after)) record();
  else byId("record").textContent = `Recording ${Math.floor(take.seconds)} s`;
}

function record() {
  if (take) {
    byId("takes").prepend(...take.done());
    take = null;
    tell("The recording is below the spectrograms.");
  } else take = new Take(audio.context.sampleRate);
  byId("record").setAttribute("aria-pressed", take !== null);
  if (!take) byId("record").textContent = "Record";
}

// ---- what is shown

function enable(on) {
  for (const id of ["look", "bypass", "mute", "record"]) byId(id).disabled = !on;
}

function show(now) {
  const before = status;
  status = now;
  ["left", "right"].forEach((ear, n) => {
    byId(`in-${ear}`).value = Math.round(now.in_db[n]);
    byId(`out-${ear}`).value = Math.round(now.out_db[n]);
  });
  byId("active").hidden = !now.target_active;
  if (now.p50_ms !== null) {
    byId("p50").textContent = `${now.p50_ms.toFixed(2)} of ${hello.chunkMs} ms`;
    byId("p99").textContent = `${now.p99_ms.toFixed(2)} ms`;
  }
  byId("bypass").setAttribute("aria-pressed", now.bypass);
  byId("mute").setAttribute("aria-pressed", now.muted);
  look.show(now.looking_s);
  if (String(before.people) !== String(now.people) || before.selected !== now.selected) {
    showPeople(now, select, (name) => say({ do: "forget", name }));
  }
  if (now.selected && !now.people.includes(now.selected)) select(null); // forgotten in another tab
  if (now.selected && now.shedding !== Boolean(before.shedding)) {
    tell(now.shedding ? "This computer is too slow at the moment: you hear everything for a while." : "Fast enough again.");
  }
}

function showBuffer({ ready, missed }) {
  if (!hello || !audio) return;
  const { baseLatency = 0, outputLatency = 0 } = audio.context;
  const delay = hello.chunkMs * (ready + 1.5) + (hello.tripMs ?? 0) + 1000 * (baseLatency + outputLatency);
  byId("buffer").textContent = `${ready} chunks`;
  byId("missed").textContent = `${missed}`;
  byId("delay").textContent = `about ${Math.round(delay)} ms`;
}

function judge(verdict) {
  wanted.select = verdict.name;
  tell(`You hear ${verdict.name}.`);
  byId("verdict").textContent = verdict.ok
    ? `${verdict.name} is enrolled: ${verdict.speech_seconds.toFixed(1)} s of speech, ${Math.round(verdict.snr_db)} dB above the rest.`
    : `${verdict.name} is enrolled, but this may not do: ${verdict.warnings.join("; ")}.`;
  byId("verdict").classList.toggle("doubtful", !verdict.ok);
}

function select(name) {
  wanted.select = name;
  say({ do: "select", name });
  tell(name === null ? "You hear everything." : `You hear ${name}.`);
}

function toggle(what) {
  const on = byId(what).getAttribute("aria-pressed") !== "true";
  wanted[what] = on;
  byId(what).setAttribute("aria-pressed", on);
  say({ do: what, on });
}

// ---- keys

function steerKeys() {
  const typed = (target) => target.closest("input:not([type=radio], [type=range]), select");
  const busy = (target) => typed(target) || target.closest("button, a, summary, [role=tab]");
  document.addEventListener("keydown", (event) => {
    if (byId("live").hidden || !worker || event.ctrlKey || event.metaKey || event.altKey) return;
    if (typed(event.target)) return;
    if (event.key === " " && !busy(event.target)) {
      event.preventDefault();
      if (!event.repeat) look.begin();
      return;
    }
    if (event.repeat && !"+-".includes(event.key)) return;
    if (event.key === "0") select(null);
    else if (/^[1-9]$/.test(event.key) && status.people?.[event.key - 1]) select(status.people[event.key - 1]);
    else if (event.key === "b") toggle("bypass");
    else if (event.key === "m") toggle("mute");
    else if (event.key === "r" && audio) record();
    else if (event.key === "+") step(1);
    else if (event.key === "-") step(-1);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && !busy(event.target)) look.end();
  });
}

function step(by) {
  byId("background").stepUp(3 * by);
  byId("background").dispatchEvent(new Event("input"));
}
