// Worker between the audio thread and the server, so that drawing never delays sound.
const MOST_AWAY = 64; // chunks that are sent and not yet back; beyond that, new ones are dropped

let socket = null;
let ears = null;
let away = []; // what was sent, and when

onmessage = ({ data: { open, listen, say, close } }) => {
  if (open) connect(open);
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
  postMessage({ before, after, tripMs: performance.now() - at }, [before.buffer, buffer]);
}
