// Worker between the audio thread and the server, so that drawing never delays sound.
const MOST_AWAY = 64; // chunks that are sent and not yet back; beyond that, new ones are dropped

let socket = null;
let ears = null;
let away = []; // what was sent, and when
let fresh = []; // chunks before and after that the page has not seen
let waiting = true; // the page has dealt with the last ones: a busy page gets more at a time, not more messages

onmessage = ({ data: { open, listen, say, next, close } }) => {
  if (open) connect(open);
  if (next) {
    waiting = true;
    show();
  }
  if (listen) {
    ears = listen;
    ears.onmessage = ({ data }) => send(data);
  }
  if (say && socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(say));
  if (close) {
    socket?.close();
    self.close();
  }
};

function connect(address) {
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  away = [];
  socket.onmessage = ({ data }) => (typeof data === "string" ? postMessage({ text: JSON.parse(data) }) : receive(data));
  socket.onclose = () => postMessage({ closed: true });
}

function send(chunk) {
  if (socket.readyState !== WebSocket.OPEN || away.length >= MOST_AWAY) return;
  socket.send(chunk);
  away.push({ before: chunk, at: performance.now() });
}

function receive(buffer) {
  const { before, at } = away.shift();
  const after = new Float32Array(buffer);
  const played = after.slice();
  ears.postMessage(played, [played.buffer]);
  fresh.push({ before, after, tripMs: performance.now() - at });
  show();
}

function show() {
  if (!waiting || !fresh.length) return;
  postMessage({ fresh }, fresh.flatMap(({ before, after }) => [before.buffer, after.buffer]));
  fresh = [];
  waiting = false;
}
