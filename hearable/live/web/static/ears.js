// Audio thread: hands chunks of the microphones to the socket's worker, and plays those that come back.
const LEAST_READY = 2, MOST_READY = 16; // chunks that wait, before playing begins and when it stutters
const WINDOW_CHUNKS = 60; // how often to look for chunks that wait for nothing
const CALM_CHUNKS = 1250; // without a miss, before fewer are kept
const REPORT_CHUNKS = 25;
const DECAY = 0.97; // of the last sample, at each sample, when nothing is ready: no click

class Ears extends AudioWorkletProcessor {
  constructor({ processorOptions: { chunkSamples } }) {
    super();
    this.size = chunkSamples;
    this.heard = new Float32Array(2 * chunkSamples); // the chunk being filled: left, then right
    this.filled = 0;
    this.ready = []; // chunks to play
    this.playing = null;
    this.at = chunkSamples;
    this.wanted = LEAST_READY;
    this.paused = true; // until as many are ready as are wanted
    this.last = [0, 0];
    this.gain = 0;
    this.least = MOST_READY;
    this.turns = this.missed = this.calm = 0; // calm: chunks since the last miss
    this.port.onmessage = ({ data }) => {
      this.socket = data;
      this.socket.onmessage = ({ data }) => this.ready.push(data);
    };
  }

  process([input], [output]) {
    if (!this.socket) return true;
    if (input.length) this.capture(input[0], input[1] ?? input[0]);
    this.play(output[0], output[1]);
    return true;
  }

  capture(left, right) {
    for (let n = 0; n < left.length; n++) {
      this.heard[this.filled] = left[n];
      this.heard[this.size + this.filled] = right[n];
      if (++this.filled === this.size) {
        this.socket.postMessage(this.heard, [this.heard.buffer]);
        this.heard = new Float32Array(2 * this.size);
        this.filled = 0;
      }
    }
  }

  play(left, right) {
    for (let n = 0; n < left.length; n++) {
      if (this.at === this.size) this.turn();
      this.last[0] *= DECAY;
      this.last[1] *= DECAY;
      if (this.playing) {
        this.gain = Math.min(1, this.gain + 1 / this.size);
        this.last[0] = this.gain * this.playing[this.at];
        this.last[1] = this.gain * this.playing[this.size + this.at];
      }
      left[n] = this.last[0];
      right[n] = this.last[1];
      this.at++;
    }
  }

  // The next chunk, or a pause until enough are ready again.
  turn() {
    this.at = 0;
    if (this.paused) this.paused = this.ready.length < this.wanted;
    else if (!this.ready.length) {
      this.paused = true;
      this.missed++;
      this.wanted = Math.min(this.wanted + 1, MOST_READY);
      this.gain = this.calm = 0;
    }
    this.playing = this.paused ? null : this.ready.shift();
    if (this.playing) this.keepShort();
    if (++this.turns % REPORT_CHUNKS === 0) this.port.postMessage({ ready: this.ready.length, missed: this.missed });
  }

  // When more chunks wait than were needed of late, some are left out; far too many, after a standstill, at once.
  keepShort() {
    if (++this.calm % CALM_CHUNKS === 0) this.wanted = Math.max(this.wanted - 1, LEAST_READY);
    this.least = Math.min(this.least, this.ready.length);
    if (this.ready.length > MOST_READY) {
      this.leaveOut(this.ready.length - this.wanted);
      return;
    }
    if (this.turns % WINDOW_CHUNKS) return;
    if (this.least > this.wanted - LEAST_READY + 1) this.leaveOut(1);
    this.least = MOST_READY;
  }

  // The chunk that plays now fades over to the last one that would have played before it is caught up.
  leaveOut(chunks) {
    const next = this.ready.splice(0, chunks).pop();
    this.playing = this.playing.map((value, n) => value + ((n % this.size) / this.size) * (next[n] - value));
  }
}

registerProcessor("ears", Ears);
