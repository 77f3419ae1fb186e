// Reads a user's hints from Redis: AIGQ's contract, version 1 (docs/schema/README.md).
//
//   node hints.mjs redis://127.0.0.1:6379/0 household-17 '{"trigger": ["milk", "eggs"], "limit": 5}'
import { createHash } from "node:crypto";
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

const TRIGGERS_READ = 5;
const OWN_FIRST = 3;
const PLACES_EACH = 7; // a page of ten without the first three

// At most `limit` hints, best first: the user's newest run, older runs, Think's for the triggers, popular,
// pinned; `think_places` of the places 4 to 10 are Think's. No query twice, none that is denied. An unknown
// user is no error; Redis being away is. `trigger`: texts of what the user did last, newest first, or one.
export async function readHints(client, user, options = {}) {
  const { trigger, application = "", locale = "", limit = 10 } = options;
  const { pinned = [], think_places = 1, now_ms = Date.now() } = options;
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
  const mapping = mappingFor(parse(pointer), user);
  const triggers = latestTriggers(trigger === undefined ? triggersOf(lists[0]) : [trigger].flat());
  const keys = mapping ? triggers.map((one) => `aigq:1:think:${mapping}:${normaliseQuery(one)}`) : [];
  const entries = keys.length ? await client.pipeline(keys.map((key) => ["GET", key])) : [];
  const suggested = inTurn(triggers, entries.map((entry) => queries(parse(entry)?.queries)));
  const ownPopular = queries(parse(own));
  const popular = ownPopular.length ? ownPopular : queries(parse(everybody));
  return merge(
    lists.flatMap((list) => personal(list, mapping)),
    suggested.map((one) => ({ ...one, source: "think", mapping, list_id: "" })),
    [
      ...popular.map((one) => ({ ...one, source: "popular", list_id: "" })),
      ...pinned.map((query) => ({ query, source: "pinned", list_id: "" })),
    ],
    { denied: new Set(denied.map(normaliseQuery)), held: lists[0]?.held ?? {}, limit, nowMs: now_ms, think_places },
  );
}

// The mapping version that this user sees. A canary is for a share of the users, always the same ones: the
// first 32 bits of SHA-256("canary version:user") over 2^32 lie below it. Nobody ("") is in no canary.
export function mappingFor(pointer, user) {
  if (typeof pointer?.version !== "string") return "";
  const { version, canary } = pointer;
  if (!canary || user === "") return version;
  const place = createHash("sha256").update(`${canary.version}:${user}`).digest().readUInt32BE(0);
  return place < canary.share * 2 ** 32 ? canary.version : version;
}

// The first texts that differ in normal form.
function latestTriggers(texts) {
  const found = new Map();
  for (const text of texts) {
    const normal = normaliseQuery(text);
    if (found.size < TRIGGERS_READ && normal && !found.has(normal)) found.set(normal, text);
  }
  return [...found.values()];
}

const triggersOf = (list) => (list?.triggers?.length ? list.triggers : [list?.trigger ?? ""]);

// The entries of several triggers take turns: the best query of each, newest trigger first, then the second of
// each, and so on; none is a trigger itself.
function inTurn(triggers, entries) {
  const seen = new Set(triggers.map(normaliseQuery));
  const found = [];
  for (let place = 0; place < Math.max(0, ...entries.map((entry) => entry.length)); place++) {
    entries.forEach((entry, number) => {
      const query = place < entry.length ? normaliseQuery(entry[place].query) : "";
      if (query && !seen.has(query)) found.push({ ...entry[place], why: triggers[number] });
      seen.add(query);
    });
  }
  return found;
}

// A list's hints; what Think has put there counts as long as its mapping version is the user's.
function personal(list, mapping) {
  const counts = (hint) => hint.source !== "think" || !hint.mapping || hint.mapping === mapping;
  return list.hints.filter(counts).map((hint) => ({ ...hint, list_id: list.list_id }));
}

function isThinks(place, thinkPlaces) {
  const share = (places) => Math.floor((places * thinkPlaces) / PLACES_EACH);
  return place >= OWN_FIRST && share(place - OWN_FIRST + 1) > share(place - OWN_FIRST);
}

// Place by place: the user's own, or Think's with what the own lists do not hold, then the rest.
function merge(own, think, rest, { denied, held, limit, nowMs, think_places }) {
  const mine = new Set(own.map((one) => normaliseQuery(one.query)));
  const others = think.filter((one) => !mine.has(normaliseQuery(one.query)));
  const seen = new Set(denied);
  const chosen = [];
  const takesOf = (source) => {
    while (source.length) {
      const candidate = source.shift();
      const query = normaliseQuery(candidate.query);
      // What the user just bought or searched is held in every tier.
      const isHeld = Math.max(candidate.held_until ?? 0, held[query] ?? 0) > nowMs;
      const isNew = !seen.has(query);
      seen.add(query);
      if (isNew && !isHeld) return chosen.push(candidate);
    }
    return 0;
  };
  for (let place = 0; place < limit; place++) {
    const order = isThinks(place, think_places) ? [others, own, rest] : [own, others, rest];
    if (!order.some(takesOf)) break;
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
