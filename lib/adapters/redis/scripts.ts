/**
 * The atomic steps of the job store, in Lua.
 *
 * Invariants
 *   RL1. Text from users reaches a script through KEYS and ARGV only; no script is ever built from it.
 *   RL2. Every write under a claim first checks that term and job id are current (P9). Both, because
 *       the terms of a job whose record has expired start again at 1.
 *   RL3. Each step can be run twice: it either does nothing the second time, or uses up a number.
 *   RL4. A step refuses before its first write. With a `#!lua` header Redis checks READONLY, MISCONF,
 *       NOREPLICAS and OOM before the script starts, so that no step is ever done by half.
 *   RL5. Steps of the job store run even when memory is full: they write little, ending a job frees
 *       memory, and a coordinator must not lose its lease because snapshots do not fit.
 *
 * Replies are flat arrays of strings; the first one says which reply it is.
 */
import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'

/** One atomic step: its text, and the digest that the server knows it by. */
export interface Script {
  readonly lua: string
  readonly sha: string
}

const script = (lua: string): Script => ({
  lua,
  sha: createHash('sha1').update(lua).digest('hex'),
})

/** KEYS[1] is the record, ARGV[1] the claim's term, ARGV[2] its job id. */
const claimed = `#!lua flags=allow-oom
local function field(name) return redis.call('HGET', KEYS[1], name) or '' end
local function below(name, held) return (tonumber(field(name)) or 0) < tonumber(held) end
local function answer(kind) return {kind, field('term'), field('generation')} end
local function fenced()
  local behind = field('jobId') == ARGV[2] and below('term', ARGV[1])
  return answer(behind and 'behind' or 'fenced')
end
local function refused()
  if redis.call('EXISTS', KEYS[1]) == 0 then return {'gone'} end
  if field('term') ~= ARGV[1] or field('jobId') ~= ARGV[2] then return fenced() end
  if field('ended') ~= '' then return {'ended', field('status'), field('term'), field('generation')} end
  return false
end
local function expire(key, ttl)
  if tonumber(ttl) <= 0 then redis.call('UNLINK', key) else redis.call('PEXPIRE', key, ttl) end
end
local function remember(key, entry, max)
  if tonumber(max) <= 0 then return end
  redis.call('LPUSH', key, entry)
  redis.call('LTRIM', key, 0, tonumber(max) - 1)
end
`

/** What both ways to own a job share. KEYS record, lease, … */
const owned = `#!lua flags=allow-oom
local function field(name) return redis.call('HGET', KEYS[1], name) or '' end
local function joined(a, b) return a .. ((a ~= '' and b ~= '') and ',' or '') .. b end
local function start_afresh(job, id, now)
  local retained = field('retained')
  if field('ended') == 'retained' then retained = joined(field('kept'), retained) end
  redis.call('HSET', KEYS[1], 'job', job, 'jobId', id, 'createdAt', now,
    'status', 'running', 'reason', '', 'latest', '', 'kept', '', 'retained', retained,
    'completed', '0', 'failed', '0', 'cancel', '0', 'ended', '', 'fresh', '1')
  for _, number in ipairs({'term', 'generation', 'epoch'}) do redis.call('HSETNX', KEYS[1], number, '0') end
end
local function acquired(graph, run, lease)
  redis.call('HINCRBY', KEYS[1], 'term', 1)
  redis.call('HSET', KEYS[1], 'graph', graph)
  redis.call('SET', KEYS[2], run, 'PX', lease)
  local reply = {'acquired'}
  for _, text in ipairs(redis.call('HGETALL', KEYS[1])) do reply[#reply + 1] = text end
  return reply
end
local function held(run)
  local holder = redis.call('GET', KEYS[2])
  if holder and holder ~= run then
    return {'held', holder, tostring(redis.call('PTTL', KEYS[2]))}
  end
  return false
end
`

/** Whether parts are there, each whole. Parts lie in KEYS behind `first`, their facts in ARGV behind `facts`. */
const whole = `
local function missing(first, facts, parts)
  local subtasks = {'parts-missing'}
  for i = 1, parts do
    local chunks, digest, subtask = ARGV[facts + 3 * i - 2], ARGV[facts + 3 * i - 1], ARGV[facts + 3 * i]
    local key = KEYS[first + i]
    if redis.call('HLEN', key) ~= tonumber(chunks) + 1 or redis.call('HGET', key, 'digest') ~= digest then
      subtasks[#subtasks + 1] = subtask
    end
  end
  return #subtasks > 1 and subtasks
end
`

/**
 * Takes the job for a run, with a new term; creates it, or starts it afresh when it ended for good.
 * A fresh start goes on counting, so that no term, generation or checkpoint id is used twice.
 * `fresh` stays set until a generation begins: a repeated acquire still says that the job is new.
 * A job that may go on as long as it is there has its TTLs taken away.
 *
 * KEYS record, lease, completed, history, its kept manifests and their parts if they have a TTL…
 * ARGV run, leaseMs, graph, mustExist, now, new job id, job name, '1' if the job must be known (P10),
 *      seen latest, seen kept
 * → held <run> <ms> | unknown | lost | stale | acquired <record as field, value, …>
 */
export const acquire = script(`${owned}
local no = held(ARGV[1])
if no then return no end
local must_exist, ended = ARGV[4] == '1', field('ended')
if redis.call('EXISTS', KEYS[1]) == 0 then
  if ARGV[8] == '1' then return {'lost'} end
  if must_exist then return {'unknown'} end
  start_afresh(ARGV[7], ARGV[6], ARGV[5])
elseif ended == 'expires' or ended == 'retained' then
  if must_exist then return {'unknown'} end
  redis.call('PERSIST', KEYS[1])
  redis.call('UNLINK', KEYS[3], KEYS[4])
  start_afresh(ARGV[7], ARGV[6], ARGV[5])
elseif ended ~= '' then
  if ended == 'kept-expires' then
    if field('latest') ~= ARGV[9] or field('kept') ~= ARGV[10] then return {'stale'} end
    redis.call('PERSIST', KEYS[1])
    for i = 3, #KEYS do redis.call('PERSIST', KEYS[i]) end
  end
  redis.call('HSET', KEYS[1], 'status', 'restarting', 'reason', '', 'cancel', '0', 'ended', '')
end
return acquired(ARGV[3], ARGV[1], ARGV[2])
`)

/**
 * Takes a job that starts from a checkpoint of another, which it has from its first instant: no crash
 * leaves a job that would start from nothing. Refused while a life of the job may go on.
 *
 * KEYS record, lease, completed, history, manifest, parts…
 * ARGV run, leaseMs, graph, now, new job id, job name, '1' if the job must be known (P10), epoch,
 *      manifest JSON, number of parts, then chunks, digest and subtask of each part
 * → held <run> <ms> | lost | resumable <status> | stale | parts-missing <subtask>… | acquired …
 */
export const acquireFrom = script(`${owned}${whole}
local no = held(ARGV[1])
if no then return no end
local exists, ended, parts = redis.call('EXISTS', KEYS[1]) == 1, field('ended'), tonumber(ARGV[10])
if not exists and ARGV[7] == '1' then return {'lost'} end
if exists and ended ~= 'expires' and ended ~= 'retained' then return {'resumable', field('status')} end
if (tonumber(field('epoch')) or 0) >= tonumber(ARGV[8]) then return {'stale'} end
no = missing(5, 10, parts)
if no then return no end
redis.call('PERSIST', KEYS[1])
redis.call('UNLINK', KEYS[3], KEYS[4])
start_afresh(ARGV[6], ARGV[5], ARGV[4])
redis.call('SET', KEYS[5], ARGV[9])
for i = 1, parts do redis.call('PERSIST', KEYS[5 + i]) end
redis.call('HSET', KEYS[1], 'latest', ARGV[8], 'kept', ARGV[8], 'epoch', ARGV[8])
return acquired(ARGV[3], ARGV[1], ARGV[2])
`)

/**
 * Extends the lease, also one that expired and that nobody took.
 *
 * KEYS record, lease · ARGV term, jobId, run, leaseMs → ok <cancel> | refused
 */
export const renew = script(`${claimed}
local no = refused()
if no then return no end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[3] then return fenced() end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return {'ok', field('cancel')}
`)

/** Gives the lease up. KEYS record, lease · ARGV term, jobId, run → ok | refused */
export const release = script(`${claimed}
local no = refused()
if no then return no end
if redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
return {'ok'}
`)

/**
 * Starts a generation and reads what it restores. A job that completed checkpoints and has no pointer,
 * or whose manifest is gone, is lost (P10).
 *
 * KEYS record, manifest of <seen> · ARGV term, jobId, seen latest ('' for none)
 * → generation <number> <manifest or ''> | stale | lost <epoch> | refused
 */
export const beginGeneration = script(`${claimed}
local no = refused()
if no then return no end
local latest = field('latest')
if latest ~= ARGV[3] then return {'stale'} end
local manifest = ''
if latest ~= '' then
  manifest = redis.call('GET', KEYS[2])
  if not manifest then return {'lost', latest} end
elseif tonumber(field('completed')) > 0 then
  return {'lost', ''}
end
redis.call('HSET', KEYS[1], 'fresh', '0')
return {'generation', tostring(redis.call('HINCRBY', KEYS[1], 'generation', 1)), manifest}
`)

/** Takes the next checkpoint id (P1). KEYS record · ARGV term, jobId, generation → epoch <id> | refused */
export const allocate = script(`${claimed}
local no = refused()
if no then return no end
if field('generation') ~= ARGV[3] then return answer(below('generation', ARGV[3]) and 'behind' or 'fenced') end
return {'epoch', tostring(redis.call('HINCRBY', KEYS[1], 'epoch', 1))}
`)

/**
 * The commit point (P5). Nothing is written before all checks have passed. An equal id with the very
 * same manifest is a repeat; every other id must be above the latest. The id counter never falls
 * behind a committed id, even if a failover lost its last step. What falls out of the kept checkpoints
 * is found by the caller, from what it has seen kept.
 *
 * KEYS record, completed, history, manifest, parts…, then what falls out: manifests, parts…
 * ARGV term, jobId, generation, epoch, seen latest, seen kept, manifest JSON, superseded TTL,
 *      history JSON, history max, new kept, number of parts, then chunks, digest and subtask of each part
 * → committed | already-committed | superseded <latest> | stale | parts-missing <subtask>… | refused
 */
export const commit = script(`${claimed}${whole}
local no = refused()
if no then return no end
if field('generation') ~= ARGV[3] then return answer(below('generation', ARGV[3]) and 'behind' or 'fenced') end
local epoch, latest, parts = ARGV[4], field('latest'), tonumber(ARGV[12])
if latest == epoch and redis.call('GET', KEYS[4]) == ARGV[7] then return {'already-committed'} end
if latest ~= '' and tonumber(epoch) <= tonumber(latest) then return {'superseded', latest} end
if latest ~= ARGV[5] or field('kept') ~= ARGV[6] then return {'stale'} end
no = missing(4, 12, parts)
if no then return no end
redis.call('SET', KEYS[4], ARGV[7])
for i = 1, parts do redis.call('PERSIST', KEYS[4 + i]) end
redis.call('HSET', KEYS[1], 'latest', epoch, 'kept', ARGV[11])
redis.call('HINCRBY', KEYS[1], 'completed', 1)
if tonumber(field('epoch')) < tonumber(epoch) then redis.call('HSET', KEYS[1], 'epoch', epoch) end
for i = 5 + parts, #KEYS do expire(KEYS[i], ARGV[8]) end
remember(KEYS[2], epoch, ARGV[10])
remember(KEYS[3], ARGV[9], ARGV[10])
return {'committed'}
`)

/**
 * Adds an aborted attempt to the history, once.
 *
 * KEYS record, history · ARGV term, jobId, history JSON, history max → ok | refused
 */
export const recordAborted = script(`${claimed}
local no = refused()
if no then return no end
if redis.call('LPOS', KEYS[2], ARGV[3]) then return {'ok'} end
redis.call('HINCRBY', KEYS[1], 'failed', 1)
remember(KEYS[2], ARGV[3], ARGV[4])
return {'ok'}
`)

/** Sets what people see. KEYS record · ARGV term, jobId, status, reason → ok | refused */
export const setStatus = script(`${claimed}
local no = refused()
if no then return no end
redis.call('HSET', KEYS[1], 'status', ARGV[3], 'reason', ARGV[4])
return {'ok'}
`)

/**
 * Ends the job and gives the lease up. With a TTL every key that would live for ever gets it; pending
 * parts and superseded checkpoints have one of their own. The record outlives the checkpoints that
 * earlier lives have left: its counters keep new keys apart from theirs. The same end may be repeated.
 *
 * KEYS record, lease, completed, history, kept manifests, their parts…
 * ARGV term, jobId, status, reason, TTL ('' to keep), how it ended, seen latest, seen kept
 * → ok | stale | refused
 */
export const end = script(`${claimed}
local no = refused()
if no and not (no[1] == 'ended' and no[2] == ARGV[3]) then return no end
local ttl = ARGV[5]
if field('latest') ~= ARGV[7] or field('kept') ~= ARGV[8] then return {'stale'} end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'status', ARGV[3], 'reason', ARGV[4], 'ended', ARGV[6])
if ttl ~= '' then
  if field('retained') == '' then expire(KEYS[1], ttl) end
  for i = 3, #KEYS do expire(KEYS[i], ttl) end
end
return {'ok'}
`)

/** Asks the job's coordinator, now or later, to cancel. KEYS record → requested | unknown | ended */
export const requestCancel = script(`#!lua flags=allow-oom
local ended = redis.call('HGET', KEYS[1], 'ended')
if not ended then return {'unknown'} end
if ended ~= '' then return {'ended'} end
redis.call('HSET', KEYS[1], 'cancel', '1')
return {'requested'}
`)

/** Lists a job's name until a time, `+inf` for ever. KEYS the list of jobs · ARGV score, job name → ok */
export const enlist = script(`#!lua flags=allow-oom
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
return {'ok'}
`)

/**
 * Opens a part, or adds one chunk to it. The key has its TTL from its first instant, and only then: a
 * late repeat must not put a TTL on a part that was committed. Other bytes under the same name are
 * replaced while they may expire, and refused once they are committed.
 *
 * KEYS part · ARGV TTL, digest[, field, chunk] → conflict | stored <number of chunks>
 */
export const storeChunk = script(`#!lua
local digest = redis.call('HGET', KEYS[1], 'digest')
if digest and digest ~= ARGV[2] then
  if redis.call('PTTL', KEYS[1]) == -1 then return {'conflict'} end
  redis.call('UNLINK', KEYS[1])
  digest = false
end
if not digest then
  redis.call('HSET', KEYS[1], 'digest', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
if ARGV[3] then redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) end
return {'stored', tostring(redis.call('HLEN', KEYS[1]) - 1)}
`)

/** Runs a script by its digest, and by its text when the server does not know it yet. Throws as ioredis does. */
export const runScript = async (
  redis: Redis,
  { lua, sha }: Script,
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
): Promise<readonly string[]> => {
  const reply = await redis.evalsha(sha, keys.length, ...keys, ...args).catch(thrown => {
    if (!(thrown instanceof Error && thrown.message.startsWith('NOSCRIPT'))) throw thrown
    return redis.eval(lua, keys.length, ...keys, ...args)
  })
  // An answer of another shape must never pass for a success.
  if (!Array.isArray(reply) || reply.length === 0) throw new Error(`no reply: ${String(reply)}`)
  return reply.map(String)
}
