// What the adapters in JavaScript have in common: the same verbs as harness.py.
import { appendFileSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const FOLDER = process.env.PEERS_MARKS;
const CHUNK = 1000;
let starts = 0;

export function count() {
  if (starts++ === 0) {
    const file = openSync(join(FOLDER, `starts.${process.pid}`), "w");
    const cell = Buffer.alloc(16);
    cell.writeDoubleLE(Date.now() / 1000, 0);
    const flush = () => {
      cell.writeBigInt64LE(BigInt(starts), 8);
      writeSync(file, cell, 0, 16, 0);
    };
    flush();
    setInterval(flush, 5);
  }
}

export function mark(number) {
  const started = now();
  appendFileSync(join(FOLDER, "marks"), `${number} ${started}\n`);
}

const now = () => (performance.timeOrigin + performance.now()) / 1000;

export function* chunks(total) {
  for (let start = 0; start < total; start += CHUNK) yield Math.min(CHUNK, total - start);
}

export async function main(peer) {
  const [verb, dsn, ...rest] = process.argv.slice(2);
  if (verb === "setup") await peer.setup(dsn);
  if (verb === "work") return peer.work(dsn);
  if (verb === "enqueue") {
    const producer = await peer.producer(dsn);
    const started = performance.now();
    await producer.many(rest[0], Number(rest[1]));
    console.log((performance.now() - started) / 1000);
  }
  if (verb === "trickle") {
    const producer = await peer.producer(dsn);
    const lines = [];
    for (let number = 0; number < Number(rest[0]); number++) {
      if (rest[1] !== "0") await sleep(Number(rest[1]) * 1000);
      const called = now();
      await producer.one(String(number));
      lines.push(`${number} ${called} ${now()}`);
    }
    console.log(lines.join("\n"));
  }
  process.exit(0);
}
