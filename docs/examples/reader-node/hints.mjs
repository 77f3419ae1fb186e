// Reads a user's hints from Redis: AIGQ's contract, version 1 (docs/schema/README.md).
//
//   node hints.mjs redis://127.0.0.1:6379/0 household-17 '{"trigger": "milk", "limit": 5}'
import { pathToFileURL } from "node:url";
import { RedisError, RespClient } from "./resp.mjs";

// Characters that Unicode folds in another way than by upper and lower case.
const FOLDS_TO_ITSELF = /\u0131/;
const FOLDS_TO_UPPER = /\p{Script=Cherokee}/u;
// What Python's str.split() takes for white space.
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;

// Two texts with the same normal form are the same query: NFKC, case folded, NFKC, single spaces.
export function normaliseQuery(text) {
  const folded = [...text.normalize("NFKC")].map(foldCase).join("").normalize("NFKC");
  return folded.split(SPACES).filter(Boolean).join(" ");
}

function foldCase(character) {
  if (FOLDS_TO_ITSELF.test(character)) return character;
  if (FOLDS_TO_UPPER.test(character)) return character.toUpperCase();
  return [...character.toLowerCase().toUpperCase()].map((one) => one.toLowerCase()).join("");
}

// At most `limit` hints, best first: the user's newest run, older runs, Think's for the trigger, popular,
// pinned. No query twice, none that is denied. An unknown user is no error; Redis being away is.
export async function readHints(client, user, options = {}) {
  const { trigger, application = "", locale = "", limit = 10, pinned = [], now_ms = Date.now() } = options;
  const replies = await client.pipeline([
    ["LRANGE", `aigq:1:hints:${user}`, 0, -1],
    ["GET", "aigq:1:think:current"],
    ["GET", `aigq:1:popular:${part(application)}:${part(locale)}`],
    ["GET", "aigq:1:popular::"],
    ["SMEMBERS", "aigq:1:deny"],
  ]);
  const [values, pointer, own, everybody, denied] = replies;
  const isWrongType = (reply) => reply instanceof RedisError && reply.message.startsWith("WRONGTYPE");
  // Without the deny set nothing may be shown; another kind of value elsewhere is only skipped.
  const refused = replies.find((reply) => reply instanceof RedisError && (reply === denied || !isWrongType(reply)));
  if (refused) throw refused;

  const lists = (Array.isArray(values) ? values : []).map(parse).filter(isHintList);
  const version = parse(pointer)?.version;
  const wanted = trigger ?? lists[0]?.trigger ?? "";
  let suggestions = [];
  if (version && wanted) {
    const key = `aigq:1:think:${version}:${normaliseQuery(wanted)}`;
    suggestions = queries(parse((await client.pipeline([["GET", key]]))[0])?.queries);
  }
  const ownPopular = queries(parse(own));
  const popular = ownPopular.length ? ownPopular : queries(parse(everybody));
  return merge(
    [
      ...lists.flatMap((list) => list.hints.map((hint) => ({ ...hint, list_id: list.list_id }))),
      ...suggestions.map((one) => ({ ...one, source: "think", list_id: "" })),
      ...popular.map((one) => ({ ...one, source: "popular", list_id: "" })),
      ...pinned.map((query) => ({ query, source: "pinned", list_id: "" })),
    ],
    new Set(denied.map(normaliseQuery)),
    limit,
    now_ms,
  );
}

// A query that is held in the newest list (the user just bought or searched it) is held in every tier.
function merge(candidates, denied, limit, nowMs) {
  const seen = new Set(denied);
  const chosen = [];
  for (const candidate of candidates) {
    const query = normaliseQuery(candidate.query);
    const isHeld = (candidate.held_until ?? 0) > nowMs;
    if (chosen.length < limit && !seen.has(query) && !isHeld) chosen.push(candidate);
    seen.add(query);
  }
  return chosen;
}

// A colon or percent sign in a name must not look like the key's own.
const part = (name) => name.replaceAll("%", "%25").replaceAll(":", "%3A");

function parse(text) {
  try {
    return typeof text === "string" ? JSON.parse(text) : null;
  } catch {
    return null; // none of ours
  }
}

const isHint = (one) => typeof one?.query === "string" && one.query !== "";
const isHintList = (list) => typeof list?.list_id === "string" && Array.isArray(list.hints) && list.hints.every(isHint);
const queries = (value) => (Array.isArray(value) && value.every(isHint) ? value : []);

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [url, user, options = "{}"] = process.argv.slice(2);
  const client = await RespClient.connect(url);
  try {
    console.log(JSON.stringify(await readHints(client, user, JSON.parse(options))));
  } finally {
    client.close();
  }
}
