/**
 * Copies of snapshots in folders of one machine, each usually on a disk of its own.
 *
 *   <folder>/sluice_copies/<job>/<job id>/<name of the part>    `layout.ts`, `part-file.ts`
 *
 * Nothing is synced: what a power cut tears or empties does not verify, and the store has it.
 *
 * Invariants
 *   CP1. Only the bytes that the digest names are handed out: whatever else is there, cut off, damaged,
 *        of another job or an earlier life, is an error, and no file is read that is longer than the part.
 *   CP2. Under its name a copy is whole or not there at all, as long as the machine runs.
 *   CP3. No name of a job, its id or a subtask reaches out of its folder, or into another life's (FL1).
 *   CP4. Only files that are named as copies are removed, and folders that are empty.
 */
import { createHash, randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, type StreamError, streamError } from '../../errors.js'
import type { CopyFolders, JobLife } from '../../ports/copy-folders.js'
import { parseSubtaskId } from '../../protocol/addresses.js'
import type { Generation, SubtaskId } from '../../protocol/ids.js'
import type { StoredPart } from '../../protocol/manifest.js'
import { partDigest } from '../digest.js'
import { partName } from '../part.js'
import { codeOf } from './errors.js'
import { fileToken, parseFileName, partFile, temporaryFile } from './layout.js'
import { encodeHeader, fileBytes, isOf, parseHeader } from './part-file.js'
import { within } from './patience.js'
import type { Files } from './snapshot-store.js'

/** Which folders, and with what they are used. */
export interface CopyFoldersOptions {
  /** At least one. */
  readonly folders: readonly string[]
  /** Wall clock in milliseconds, as the file system has it: for what other lives have left. */
  readonly now: () => number
  /** Default: those of Node. */
  readonly files?: Files
}

interface Place {
  readonly files: Files
  readonly folders: readonly string[]
  readonly now: () => number
}

/** The only folder that is made and looked at in each of those that are given. */
const root = 'sluice_copies'

const hourMs = 3_600_000
/** How long copies stay that nobody touches: of the job, but not this worker's, and of other jobs. */
const untouchedMs = { sameJob: hourMs, others: 7 * 24 * hourMs } as const

/** Copies in these folders. */
export const copyFolders = ({ folders, now, files = fs }: CopyFoldersOptions): CopyFolders => {
  const place: Place = { files, folders, now }
  const attempt =
    <A>(doing: string, work: () => Promise<E.Either<StreamError, A>>) =>
    async (): Promise<E.Either<StreamError, A>> => {
      try {
        return await work()
      } catch (thrown) {
        return E.left(copyError(doing, thrown))
      }
    }
  return {
    write: (life, part, chunks) => {
      const at = folderOf(place, life, part.subtask)
      return attempt(`keep ${nameOf(life, part)} in ${JSON.stringify(at)}`, async () => {
        const content = [encodeHeader(life.job, part, chunks, untouchedMs.others), ...chunks]
        await write(place, at, partFile(part), content)
        return E.right(undefined)
      })
    },
    read: (life, part) => {
      const path = join(folderOf(place, life, part.subtask), partFile(part))
      return attempt(`read ${nameOf(life, part)} from ${JSON.stringify(path)}`, () =>
        read(place, path, life, part),
      )
    },
    remove: (life, part) => {
      const at = folderOf(place, life, part.subtask)
      return attempt(`remove ${nameOf(life, part)} from ${JSON.stringify(at)}`, async () => {
        await removeFile(place, join(at, partFile(part)))
        return E.right(undefined)
      })
    },
    sweep: (life, generation, subtasks, needed) =>
      attempt('remove copies that nothing restores', async () => {
        const begins = {
          generation,
          subtasks: new Set(subtasks.map(fileToken)),
          needed: new Set(needed.map(partFile)),
        }
        return E.right(await sweep(place, life, begins))
      }),
    clear: life =>
      attempt(`remove the copies of the job ${JSON.stringify(life.job)}`, async () => {
        for (const folder of folders)
          await empty(place, join(folder, root, fileToken(life.job)), fileToken(life.jobId))
        return E.right(undefined)
      }),
  }
}

/**
 * What is wrong with a folder for copies, in words; undefined: this process can use it. It is not made
 * when it is not there: where a disk is not mounted, another one would fill up.
 */
export const copyFolderProblem = async (
  folder: string,
  files: LookFiles = fs,
  withinMs = 10_000,
): Promise<string | undefined> => {
  const looked = await within(look(folder, files), withinMs)
  if (looked === undefined) return `which has not answered for ${withinMs} ms`
  return looked === 'good' ? undefined : looked
}

type LookFiles = Files & Pick<typeof fs, 'stat'>

const look = async (folder: string, files: LookFiles): Promise<string> => {
  try {
    if (!(await files.stat(folder)).isDirectory()) return 'which is no folder'
    const at = join(folder, root)
    await made(files, at)
    const probe = join(at, `${randomUUID()}.probe`)
    await (await files.open(probe, 'wx', fileMode)).close()
    await files.unlink(probe)
    return 'good'
  } catch (thrown) {
    const code = codeOf(thrown)
    if (isNoRoom(code)) return 'good' // Which passes; copies fail one by one, and are tried again.
    if (code === 'ENOENT') return 'which is not there'
    if (code === 'ENOTDIR') return `where no folder can be (${code})`
    return ['EACCES', 'EPERM', 'EROFS'].includes(code)
      ? `where this process may not write (${code})`
      : `which cannot be used: ${messageOf(thrown)}`
  }
}

/** State is nobody else's to read. */
const fileMode = 0o600

const nameOf = ({ job }: JobLife, part: StoredPart): string => `a copy of ${partName(job, part)}`

const isNoRoom = (code: string): boolean => ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)

const copyError = (doing: string, thrown: unknown): StreamError => {
  const code = codeOf(thrown)
  const message = `could not ${doing}`
  const meanwhile = 'the job goes on, and restores from its store meanwhile'
  if (isNoRoom(code))
    return streamError('full', `${message}: its disk or quota is full (${code})`, {
      next: `Make room there; ${meanwhile}.`,
      cause: thrown,
    })
  return streamError('unavailable', `${message}: ${messageOf(thrown)}`, {
    next: `Check the folder in localRecoveryFolders on this machine; ${meanwhile}.`,
    cause: thrown,
  })
}

/** Subtasks that follow each other take turns; jobs do not all begin with the first folder. */
const folderOf = ({ folders }: Place, { job, jobId }: JobLife, subtask: SubtaskId): string => {
  const { chain, index } = parseSubtaskId(subtask)
  const first = createHash('sha256').update(`${job}\n${chain}`).digest().readUInt32BE(0)
  const chosen = folders[(first + index) % folders.length] ?? ''
  return join(chosen, root, fileToken(job), fileToken(jobId))
}

const write = async (
  place: Place,
  folder: string,
  file: string,
  content: readonly Uint8Array[],
): Promise<void> => {
  try {
    await writeOnce(place, folder, file, content)
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT') throw thrown
    // Somebody has removed the empty folder meanwhile.
    await writeOnce(place, folder, file, content)
  }
}

const writeOnce = async (
  { files }: Place,
  folder: string,
  file: string,
  content: readonly Uint8Array[],
): Promise<void> => {
  // Not what was given: where its disk is not mounted any more, another one would fill up.
  for (const one of [join(folder, '..', '..'), join(folder, '..'), folder]) await made(files, one)
  const temporary = join(folder, temporaryFile(file, untouchedMs.others, randomUUID()))
  try {
    const handle = await files.open(temporary, 'wx', fileMode)
    try {
      for (const bytes of content) await handle.writeFile(bytes)
    } finally {
      await handle.close()
    }
    await files.rename(temporary, join(folder, file)) // CP2
  } catch (thrown) {
    // Room is made at once where it can be; otherwise the next generation's sweep does so.
    await files.unlink(temporary).catch(() => undefined)
    throw thrown
  }
}

const made = async (files: Files, folder: string): Promise<void> => {
  try {
    await files.mkdir(folder)
  } catch (thrown) {
    if (codeOf(thrown) !== 'EEXIST') throw thrown
  }
}

/** More than facts about a part take, its chunks being many. */
const headerBytesMax = (part: StoredPart): number => 64 * 1024 + 16 * part.chunks

const read = async (
  { files }: Place,
  path: string,
  { job }: JobLife,
  part: StoredPart,
): Promise<E.Either<StreamError, readonly Uint8Array[] | undefined>> => {
  const useless = (reason: string): E.Either<StreamError, never> =>
    E.left(
      streamError('corrupt', `the local copy ${JSON.stringify(path)} is of no use: ${reason}`, {
        next: 'It is read from the store, and the copy is removed.',
      }),
    )
  const facts = await lookAt(files, path)
  if (facts === undefined) return E.right(undefined)
  if (!facts.isFile()) return useless('it is no file')
  if (facts.size < part.bytes || facts.size > part.bytes + headerBytesMax(part))
    return useless(`it has ${facts.size} bytes, its content alone ${part.bytes}`)
  const content = await files.readFile(path)
  const parsed = parseHeader(content)
  if (parsed === undefined || parsed === 'more') return useless('its first lines cannot be read')
  if (!isOf(parsed.header, job, part)) return useless('its first lines are those of another part')
  if (fileBytes(parsed) !== content.byteLength)
    return useless(`${content.byteLength} of ${fileBytes(parsed)} bytes are there`)
  let at = parsed.bytes
  const chunks = parsed.header.sizes.map(size => {
    at += size
    return content.subarray(at - size, at)
  })
  return partDigest(chunks) === part.digest
    ? E.right(chunks)
    : useless('its bytes do not match the digest') // CP1
}

const lookAt = async (files: Files, path: string) => {
  try {
    return await files.lstat(path)
  } catch (thrown) {
    if (isAbsent(thrown)) return undefined
    throw thrown
  }
}

const isAbsent = (thrown: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(codeOf(thrown))

const removeFile = async ({ files }: Place, path: string): Promise<boolean> => {
  try {
    await files.unlink(path)
    return true
  } catch (thrown) {
    if (isAbsent(thrown)) return false
    throw thrown
  }
}

const namesIn = async ({ files }: Place, folder: string): Promise<readonly string[]> => {
  try {
    return await files.readdir(folder)
  } catch (thrown) {
    if (isAbsent(thrown)) return []
    throw thrown
  }
}

/** The generation that wrote a file, and of which subtask; undefined: it is not named as a copy (CP4). */
const writtenIn = (
  name: string,
): { readonly generation: Generation; readonly subtask: string } | undefined => {
  const [, generation, subtask] = /^\d+-(-?\d+)-(.*)-[0-9a-f]{32}\.part/.exec(name) ?? []
  if (generation === undefined || subtask === undefined) return undefined
  return parseFileName(name) === undefined ? undefined : { generation: Number(generation), subtask }
}

/** A generation that begins: which subtasks run here, and which files they restore, by name. */
interface Beginning {
  readonly generation: Generation
  readonly subtasks: ReadonlySet<string>
  readonly needed: ReadonlySet<string>
}

const sweep = async (place: Place, { job, jobId }: JobLife, begins: Beginning): Promise<number> => {
  const own = { job: fileToken(job), life: fileToken(jobId) }
  let removed = 0
  for (const folder of place.folders) {
    const at = join(folder, root)
    removed += await sweepOwn(place, join(at, own.job, own.life), begins)
    for (const jobName of await namesIn(place, at)) {
      const isSameJob = jobName === own.job
      const limitMs = isSameJob ? untouchedMs.sameJob : untouchedMs.others
      removed += await sweepLives(
        place,
        join(at, jobName),
        life => !(isSameJob && life === own.life),
        limitMs,
      )
    }
  }
  return removed
}

/** Others of this generation may have written by now, and others may run elsewhere: theirs stay. */
const sweepOwn = async (
  place: Place,
  folder: string,
  { generation, subtasks, needed }: Beginning,
): Promise<number> => {
  const old = (name: string): boolean =>
    (writtenIn(name)?.generation ?? generation) < generation && !needed.has(name)
  const isOwn = (name: string): boolean => subtasks.has(writtenIn(name)?.subtask ?? '')
  let removed = await removeIn(place, folder, name => old(name) && isOwn(name))
  for (const name of (await namesIn(place, folder)).filter(old)) {
    const facts = isOwn(name) ? undefined : await lookAt(place.files, join(folder, name))
    if (facts === undefined || place.now() - facts.mtimeMs < untouchedMs.sameJob) continue
    if (await removeFile(place, join(folder, name))) removed += 1
  }
  return removed
}

/** Removes lives of one job that nobody has touched for so long. */
const sweepLives = async (
  place: Place,
  jobFolder: string,
  isOther: (life: string) => boolean,
  limitMs: number,
): Promise<number> => {
  let removed = 0
  try {
    for (const life of await namesIn(place, jobFolder)) {
      const facts = isOther(life) ? await lookAt(place.files, join(jobFolder, life)) : undefined
      // What is written or removed in a folder touches it.
      if (facts?.isDirectory() === true && place.now() - facts.mtimeMs >= limitMs)
        removed += await empty(place, jobFolder, life)
    }
  } catch (thrown) {
    // Another user's are for that user to remove.
    if (!['EACCES', 'EPERM'].includes(codeOf(thrown))) throw thrown
  }
  return removed
}

const removeIn = async (
  place: Place,
  folder: string,
  isUnwanted: (name: string) => boolean,
): Promise<number> => {
  let removed = 0
  for (const name of await namesIn(place, folder)) {
    if (writtenIn(name) === undefined || !isUnwanted(name)) continue
    if (await removeFile(place, join(folder, name))) removed += 1
  }
  return removed
}

/** Removes a life's copies, its folder, and that of the job if it was the last. */
const empty = async (place: Place, jobFolder: string, life: string): Promise<number> => {
  const removed = await removeIn(place, join(jobFolder, life), () => true)
  for (const folder of [join(jobFolder, life), jobFolder]) {
    try {
      await place.files.rmdir(folder)
    } catch (thrown) {
      // Something else is there, or somebody was faster.
      if (!isAbsent(thrown) && !['ENOTEMPTY', 'EEXIST'].includes(codeOf(thrown))) throw thrown
    }
  }
  return removed
}
