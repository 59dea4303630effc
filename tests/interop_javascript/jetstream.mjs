// Streams, key-value and objects, with the official clients' own modules.

import { AckPolicy, jetstream, jetstreamManager, JetStreamApiError } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";

function assert(fine, what) {
  if (!fine) throw new Error(what);
}

async function code(promise) {
  try {
    await promise;
  } catch (error) {
    if (error instanceof JetStreamApiError) return error.code;
    throw error;
  }
  throw new Error("an error was expected");
}

async function streams(connection) {
  const manager = await jetstreamManager(connection);
  const js = jetstream(connection);
  await manager.streams.add({ name: "S", subjects: ["s.>"] });
  const acks = [];
  for (let at = 0; at < 300; at++) acks.push(js.publish(`s.${at % 3}`, String(at)));
  const seqs = (await Promise.all(acks)).map((ack) => ack.seq);
  assert(seqs.every((seq, at) => seq === at + 1), "acknowledged in order");
  const first = await js.publish("s.id", "", { msgID: "x" });
  const second = await js.publish("s.id", "", { msgID: "x" });
  assert(!first.duplicate && second.duplicate && second.seq === first.seq, "deduplicated");
  const expect = { expect: { lastSequence: 7 } };
  assert((await code(js.publish("s.0", "", expect))) === 10071, "expected sequence");

  await manager.consumers.add("S", {
    durable_name: "c",
    ack_policy: AckPolicy.Explicit,
    filter_subject: "s.1",
  });
  const consumer = await js.consumers.get("S", "c");
  const got = [];
  for await (const message of await consumer.fetch({ max_messages: 40 })) {
    got.push(Number(message.string()));
    assert(await message.ackAck(), "ack");
  }
  const messages = await consumer.consume({ max_messages: 10 });
  for await (const message of messages) {
    got.push(Number(message.string()));
    message.ack();
    if (got.length === 100) break;
  }
  assert(got.every((it, at) => it === at * 3 + 1), `consumed in order: ${got}`);
  const ordered = await js.consumers.get("S");
  let expected = 1;
  for await (const message of await ordered.consume()) {
    assert(message.seq === expected++, "ordered");
    if (message.info.pending === 0) break;
  }
  const info = await manager.streams.info("S", { subjects_filter: ">" });
  assert(info.state.messages === 301 && info.state.subjects["s.1"] === 100, "info");
  await manager.streams.purge("S", { filter: "s.1" });
  assert((await manager.streams.info("S")).state.messages === 201, "purged");
  assert(await manager.streams.delete("S"), "deleted");
}

async function keysAndValues(connection) {
  const kv = await new Kvm(connection).create("B", { history: 5 });
  const seen = [];
  const watch = await kv.watch({ key: "a.>" });
  const watching = (async () => {
    for await (const entry of watch) {
      seen.push(`${entry.operation} ${entry.string()}`);
      if (entry.operation === "DEL") break;
    }
  })();
  const revisions = [];
  for (let at = 0; at < 7; at++) revisions.push(await kv.put("a.x", String(at)));
  assert((await kv.get("a.x")).string() === "6", "get");
  assert((await kv.get("a.x", { revision: revisions[3] })).string() === "3", "revision");
  const history = [];
  for await (const entry of await kv.history({ key: "a.x" })) history.push(entry.string());
  assert(history.join() === "2,3,4,5,6", `history: ${history}`);
  assert((await code(kv.update("a.x", "no", revisions[0]))) === 10071, "compare and set");
  await kv.update("a.x", "yes", revisions[6]);
  assert((await code(kv.create("a.x", "no"))) === 10071, "create");
  await kv.delete("a.x");
  assert((await kv.get("a.x")).operation === "DEL", "deleted");
  await watching;
  const all = "PUT 0,PUT 1,PUT 2,PUT 3,PUT 4,PUT 5,PUT 6,PUT yes,DEL ";
  assert(seen.join() === all, `watched: ${seen}`);
  assert((await kv.create("a.x", "anew")) > revisions[6], "created again");
  await kv.purge("a.x");
  await kv.put("b", "1");
  const keys = [];
  for await (const key of await kv.keys()) keys.push(key);
  assert(keys.join() === "b", `keys: ${keys}`);
  assert(await kv.destroy(), "destroyed");
}

async function objects(connection) {
  const store = await new Objm(connection).create("O");
  const large = new Uint8Array(4 << 20).map((_, at) => (at * 31 + (at >> 13)) % 256);
  const info = await store.putBlob({ name: "large" }, large);
  assert(info.chunks === 32 && info.size === large.length, "chunks");
  const back = await store.getBlob("large");
  assert(back.length === large.length && back.every((it, at) => it === large[at]), "large");
  await store.putBlob({ name: "small", description: "little" }, new TextEncoder().encode("s"));
  await store.link("link", await store.info("small"));
  assert(new TextDecoder().decode(await store.getBlob("link")) === "s", "through a link");
  await store.delete("large");
  const names = (await store.list()).map((it) => it.name).sort();
  assert(names.join() === "link,small", `names: ${names}`);
  assert((await store.seal()).sealed, "sealed");
  assert(await store.destroy(), "destroyed");
}

export async function run(connect, url) {
  const connection = await connect({ servers: url, user: "u", pass: "p" });
  await streams(connection);
  await keysAndValues(connection);
  await objects(connection);
  await connection.close();
}
