// What any client must be able to do, with whatever connects: used by Node and by a browser's page.

function assert(fine, what) {
  if (!fine) throw new Error(what);
}

async function next(subscription) {
  for await (const message of subscription) return message;
  throw new Error("the subscription ended");
}

/// `connect(options)` gives a connection; `headers()` an empty set of headers.
export async function run(connect, headers, url) {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const one = await connect({ servers: url, user: "u", pass: "p" });
  const two = await connect({ servers: url, user: "u", pass: "p", noEcho: true });

  // Publish and subscribe.
  const heard = two.subscribe("greet.*", { max: 1 });
  await two.flush();
  one.publish("greet.you", encoder.encode("hello"));
  const message = await next(heard);
  assert(message.subject === "greet.you", "subject");
  assert(decoder.decode(message.data) === "hello", "payload");

  // Request and reply, with headers both ways.
  two.subscribe("square", {
    callback: (_, request) => {
      const answer = headers();
      answer.set("Asked", request.headers.get("Question"));
      const number = Number(decoder.decode(request.data));
      request.respond(encoder.encode(String(number * number)), { headers: answer });
    },
  });
  await two.flush();
  const question = headers();
  question.set("Question", "how many");
  const answer = await one.request("square", encoder.encode("12"), {
    timeout: 5000,
    headers: question,
  });
  assert(decoder.decode(answer.data) === "144", "answer");
  assert(answer.headers.get("Asked") === "how many", "headers");

  // Nobody there.
  let refused = false;
  await one.request("nobody.there", encoder.encode(""), { timeout: 5000 }).catch(() => {
    refused = true;
  });
  assert(refused, "no responders");

  // Large and many.
  const large = new Uint8Array(500_000).map((_, at) => at % 251);
  const big = two.subscribe("big", { max: 1 });
  const many = two.subscribe("many", { max: 5000 });
  await two.flush();
  one.publish("big", large);
  for (let at = 0; at < 5000; at++) one.publish("many", encoder.encode(String(at)));
  const came = (await next(big)).data;
  assert(came.length === large.length && came.every((it, at) => it === large[at]), "large");
  let expected = 0;
  for await (const it of many) {
    assert(decoder.decode(it.data) === String(expected), `order at ${expected}`);
    expected++;
  }
  assert(expected === 5000, "all of many");

  // Who may not come in.
  let kept = false;
  await connect({ servers: url, user: "u", pass: "wrong", reconnect: false }).catch(() => {
    kept = true;
  });
  assert(kept, "a wrong password is refused");
  await one.drain();
  await two.close();
}
