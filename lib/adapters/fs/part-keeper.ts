/**
 * The coordinator's side of a shared folder: whether parts are there, and which may go.
 *
 * Invariants
 *   FK1. Only files that this adapter has written are ever removed: by their name and their first line.
 *   FK2. A part that a kept checkpoint names is never removed, however old it is. One that no checkpoint
 *       names any more, or can name, goes when it is superseded for long enough; one that a checkpoint may
 *       still name, when its TTL is over.
 *       Of a job that has ended with a TTL everything goes when that is over, and an hour more, if the
 *       job store has forgotten it; but for what was written since: that is a later life's.
 *   FK3. Parts of one job store are not counted or removed by another: two servers that both know a job
 *       of one name cannot share a folder.
 *   FK4. How old a part is counts from when it was asked what is needed. However long a sweep stands
 *       still after that, it removes nothing that was committed meanwhile: whoever commits looks at the
 *       same age, later.
 */
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import type { Task } from 'fp-ts/lib/Task.js'
import * as t from 'io-ts'
import { type StreamError, streamError } from '../../errors.js'
import type { PartKeeper, PartsKept } from '../../ports/part-keeper.js'
import type { SubtaskId } from '../../protocol/ids.js'
import type { StoredPart } from '../../protocol/manifest.js'
import { codeOf, folderError } from './errors.js'
import {
  expiryFile,
  fileToken,
  ownerFile,
  parseFileName,
  partFile,
  temporaryFile,
} from './layout.js'
import { fileBytes, isOf, type ParsedHeader, parsedJson, parseHeader } from './part-file.js'
import { defaultPatienceMs, patienceWith } from './patience.js'
import {
  type Files,
  type FolderOptions,
  makeFolder,
  syncFolder,
  writeWhole,
} from './snapshot-store.js'

/** What a keeper takes. */
export interface KeeperOptions extends FolderOptions {
  /** Milliseconds since 1970, as far as this machine knows. */
  readonly now: () => number
  /** A part outlives its TTL by so much, for clocks that differ. Default 60 000. */
  readonly graceMs?: number
}

interface Place {
  readonly files: Files
  readonly folder: string
  readonly graceMs: number
  readonly now: () => number
}

/** The keeper of the parts in a folder. */
export const fsPartKeeper = ({
  folder,
  files = fs,
  now,
  graceMs = 60_000,
  patienceMs = defaultPatienceMs,
}: KeeperOptions): PartKeeper => {
  const place = { files, folder, graceMs, now }
  const wait = patienceWith(folder, patienceMs)
  // Sweeps take as long as they take: nobody waits for them but those who say how long.
  const attempt =
    <A>(doing: string, work: () => Promise<E.Either<StreamError, A>>) =>
    async () => {
      try {
        return await work()
      } catch (thrown) {
        return E.left(folderError(folder, doing, thrown))
      }
    }
  const answered =
    <A>(doing: string, work: () => Promise<E.Either<StreamError, A>>) =>
    () =>
      wait(doing, 0, attempt(doing, work))
  const at = (job: string): string => join(folder, fileToken(job))
  return {
    now,
    own: (job, store) =>
      answered('keep checkpoints', () => own(files, folder, at(job), job, store)),
    expect: (job, store, ttlMs) =>
      answered('keep the copy of a checkpoint', async () => {
        const owned = await own(files, folder, at(job), job, store)
        if (E.isRight(owned)) await expect(place, at(job), ttlMs)
        return owned
      }),
    missing: (job, parts, committed) =>
      answered('look for the parts of a checkpoint', async () => {
        const known = new Set(committed.map(partFile))
        const lost: SubtaskId[] = []
        for (const part of parts) {
          if (!(await isThere(place, at(job), job, part, known.has(partFile(part)))))
            lost.push(part.subtask)
        }
        return E.right(lost)
      }),
    sweep: (job, kept) =>
      attempt('remove what no checkpoint needs', async () =>
        E.right(await sweep(place, at(job), kept)),
      ),
    expire: (job, ttlMs) =>
      answered('say how long checkpoints are needed', async () => {
        await (ttlMs === undefined ? stay(files, at(job)) : expire(place, at(job), ttlMs))
        return E.right(undefined)
      }),
    sweepExpired: (store, isForgotten) =>
      attempt('remove what has expired', async () =>
        E.right(await sweepExpired(place, store, isForgotten)),
      ),
    leave: job =>
      answered('remove the folder of a job that has ended', async () => {
        await leave(files, at(job))
        return E.right(undefined)
      }),
  }
}

/** How long whoever writes it may take. */
const ownerTtlMs = 60_000

const own = async (
  files: Files,
  folder: string,
  at: string,
  job: string,
  store: string,
): Promise<E.Either<StreamError, void>> => {
  await makeFolder(files, at)
  const path = join(at, ownerFile)
  const owner = await ownerOf(files, at)
  if (owner === undefined) {
    // A link, unlike a rename, takes nobody's place.
    const temporary = join(at, temporaryFile(ownerFile, ownerTtlMs, randomUUID()))
    const handle = await files.open(temporary, 'wx')
    try {
      await handle.writeFile(JSON.stringify({ version: 1, job, store }))
      await handle.sync()
    } finally {
      await handle.close()
    }
    try {
      await files.link(temporary, path)
    } catch (thrown) {
      if (codeOf(thrown) !== 'EEXIST') throw thrown
    } finally {
      await files.unlink(temporary)
    }
    await syncFolder(files, at)
  }
  const now = owner ?? (await ownerOf(files, at))
  return now?.store === store ? E.right(undefined) : E.left(foreign(folder, at, job))
}

const foreign = (folder: string, at: string, job: string): StreamError =>
  streamError(
    'conflict',
    `the folder ${JSON.stringify(folder)} holds checkpoints of a job ${JSON.stringify(job)} that are recorded in another Redis`,
    {
      next: `Point --redis at that Redis, or name another folder; if those checkpoints are not needed, remove ${at}.`,
    },
  )

const Owner = t.readonly(t.strict({ job: t.string, store: t.string }))

/** Whose folder it is; undefined: nobody's; of an empty name when that cannot be read. */
const ownerOf = async (files: Files, at: string): Promise<t.TypeOf<typeof Owner> | undefined> => {
  const text = await textOf(files, join(at, ownerFile))
  if (text === undefined) return undefined
  const owner = Owner.decode(parsedJson(text))
  return E.isRight(owner) ? owner.right : { job: '', store: '' }
}

/** What is in a small file; undefined when there is none. */
const textOf = async (files: Files, path: string): Promise<string | undefined> => {
  try {
    return await files.readFile(path, 'utf8')
  } catch (thrown) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(thrown))) return undefined
    throw thrown
  }
}

/** Whole, which its name promises and its length shows; its bytes are verified by whoever reads them. */
const isThere = async (
  place: Place,
  at: string,
  job: string,
  part: StoredPart,
  isCommitted: boolean,
): Promise<boolean> => {
  const file = await look(place.files, join(at, partFile(part)))
  if (file === undefined || file.parsed === undefined) return false
  const { header } = file.parsed
  return (
    isOf(header, job, part) &&
    fileBytes(file.parsed) === file.bytes &&
    (isCommitted || ageMs(place.now(), file) < header.ttlMs)
  )
}

interface Looked {
  readonly bytes: number
  readonly writtenAt: number
  readonly parsed: ParsedHeader | undefined
}

const startBytes = 4096
const startBytesMax = 1024 * 1024

/** What a file says of itself; undefined when it is not there, or is no file. */
const look = async (files: Files, path: string): Promise<Looked | undefined> => {
  try {
    const facts = await files.lstat(path)
    if (!facts.isFile()) return undefined
    const handle = await files.open(path, 'r')
    try {
      for (let length = startBytes; ; length *= 4) {
        const start = Buffer.alloc(length)
        const { bytesRead } = await handle.read(start, 0, length, 0)
        const parsed = parseHeader(start.subarray(0, bytesRead))
        const isCut = parsed === 'more' && bytesRead === length && length < startBytesMax
        if (isCut) continue
        const known = parsed === 'more' ? undefined : parsed
        return { bytes: facts.size, writtenAt: facts.mtimeMs, parsed: known }
      }
    } finally {
      await handle.close()
    }
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return undefined
    throw thrown
  }
}

const sweep = async (place: Place, at: string, kept: PartsKept): Promise<number> => {
  const { files } = place
  const needed = new Set(kept.parts.map(partFile))
  let removed = 0
  for (const name of await namesIn(files, at)) {
    if (needed.has(name) || !(await isGarbage(place, join(at, name), name, kept))) continue
    try {
      await files.unlink(join(at, name))
      removed += 1
    } catch (thrown) {
      if (codeOf(thrown) !== 'ENOENT') throw thrown
    }
  }
  return removed
}

/** Clocks of files are coarser than ours, and those of other machines differ. */
const ageMs = (now: number, { writtenAt }: Looked): number => Math.max(0, now - writtenAt)

const isGarbage = async (
  place: Place,
  path: string,
  name: string,
  { newest, supersededTtlMs, seenAt }: PartsKept,
): Promise<boolean> => {
  const said = parseFileName(name)
  if (said === undefined) return false
  const file = await look(place.files, path)
  if (file === undefined) return false
  // What a writer left when it died may have no first line yet.
  if (said.type === 'part' && file.parsed === undefined) return false
  const ttlMs = said.type === 'part' ? file.parsed?.header.ttlMs : said.ttlMs
  const untilMs = (ttlMs ?? 0) + place.graceMs
  const limitMs = said.epoch <= newest ? Math.min(supersededTtlMs, untilMs) : untilMs
  return ageMs(seenAt, file) >= limitMs
}

const namesIn = async (files: Files, at: string): Promise<readonly string[]> => {
  try {
    return await files.readdir(at)
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return []
    throw thrown
  }
}

const stay = async (files: Files, at: string): Promise<void> => {
  try {
    await files.unlink(join(at, expiryFile))
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT') throw thrown
  }
}

const expire = async ({ files, now }: Place, at: string, ttlMs: number): Promise<void> => {
  const text = Buffer.from(JSON.stringify({ version: 1, at: Math.ceil(now() + ttlMs) }))
  await makeFolder(files, at)
  await writeWhole(files, at, expiryFile, [text], ttlMs)
}

/** What expires already lasts longer at most; what a job without a record has left is not ours to end. */
const expect = async (place: Place, at: string, ttlMs: number): Promise<void> => {
  const until = await expiryOf(place.files, at)
  const names = until === undefined ? await namesIn(place.files, at) : []
  if (names.some(name => parseFileName(name)?.type === 'part')) return
  await expire(place, at, Math.max(ttlMs, (until ?? 0) - place.now()))
}

/** When a job's parts expire; undefined: nothing is known of that. */
const expiryOf = async (files: Files, at: string): Promise<number | undefined> => {
  const [, until] = /"at":(\d+)/.exec((await textOf(files, join(at, expiryFile))) ?? '') ?? []
  return until === undefined ? undefined : Number(until)
}

const expiredGraceMs = 3_600_000

const sweepExpired = async (
  place: Place,
  store: string,
  isForgotten: (job: string) => Task<boolean>,
): Promise<number> => {
  const { files, folder, now } = place
  let removed = 0
  for (const name of await namesIn(files, folder)) {
    const at = join(folder, name)
    const owner = await ownerOf(files, at)
    if (owner?.store !== store) continue
    const until = await expiryOf(files, at)
    if (until === undefined || now() <= until + expiredGraceMs) continue
    if (!(await isForgotten(owner.job)())) continue
    removed += await sweep(place, at, allUntil(until))
    await leave(files, at)
  }
  return removed
}

const allUntil = (seenAt: number): PartsKept => ({
  parts: [],
  newest: Number.POSITIVE_INFINITY,
  // What is younger counts as of this moment.
  supersededTtlMs: 1,
  seenAt,
})

const leave = async (files: Files, at: string): Promise<void> => {
  const names = await namesIn(files, at)
  if (names.some(name => name !== ownerFile && name !== expiryFile) || names.length === 0) return
  try {
    await stay(files, at)
    await files.unlink(join(at, ownerFile))
    await files.rmdir(at)
  } catch (thrown) {
    // Somebody has written there meanwhile, or has left before.
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(codeOf(thrown))) throw thrown
  }
}
