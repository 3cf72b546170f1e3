// How does the page ask? JSON, and streams of events with progress.

const JSON_TYPE = { "content-type": "application/json" };

export class Refused extends Error {}

async function checked(reply) {
  if (reply.ok) return reply;
  throw new Refused((await reply.text()) || `the server answered ${reply.status}`);
}

export async function get(path) {
  return (await checked(await fetch(`/api/${path}`))).json();
}

export async function post(path, body, signal) {
  const asked = { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body), signal };
  const reply = await checked(await fetch(`/api/${path}`, asked));
  return reply.headers.get("content-type").startsWith("application/json") ? reply.json() : reply.text();
}

/** The result of a stream; every line of progress goes to `tell`. */
export async function stream(path, body, { tell, signal }) {
  const asked = body ? { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body), signal } : { signal };
  const reply = await checked(await fetch(`/api/${path}`, asked));
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Refused("The program has ended.");
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [, name, data] = block.match(/^event: (\w+)\ndata: (.*)$/s);
      const found = JSON.parse(data);
      if (name === "progress") tell(found.text);
      else if (name === "failed") throw new Refused(found.text);
      else return found;
    }
  }
}
