// The official client in Node against the servers named on the command line.

import { headers, wsconnect } from "@nats-io/nats-core";
import { run } from "./cases.mjs";
import { run as runJetStream } from "./jetstream.mjs";

for (const url of process.argv.slice(2)) {
  await run(wsconnect, headers, url);
  await runJetStream(wsconnect, url);
  console.log(`${url}: ok`);
}
