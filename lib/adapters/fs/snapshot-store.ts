/**
 * Snapshots in a folder that every process of the job sees: one file per part (`layout.ts`).
 *
 * Invariants
 *   FS1. Under its name a part is whole or not there at all: it is written under another name, synced,
 *       renamed, and the folder is synced before anybody hears that it is stored.
 *   FS2. A part is immutable: what is written again is the same bytes, by FL2.
 *   FS3. What `read` answers has been verified against the digest, whole.
 *   FS4. What a dead writer leaves behind is known by its name, for `part-keeper.ts` to remove.
 */
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../errors.js'
import type { SnapshotStore } from '../../ports/job-store.js'
import type { PartRef } from '../../protocol/manifest.js'
import { partDigest } from '../digest.js'
import { partName, partProblem } from '../part.js'
import { codeOf, folderError } from './errors.js'
import { fileToken, partFile, temporaryFile } from './layout.js'
import { encodeHeader, fileBytes, isOf, type ParsedHeader, parseHeader } from './part-file.js'
import { defaultPatienceMs, patienceWith } from './patience.js'

/** What of Node's file system is used; tests let it fail. */
export type Files = Pick<
  typeof fs,
  'mkdir' | 'open' | 'rename' | 'unlink' | 'readFile' | 'readdir' | 'lstat' | 'link' | 'rmdir'
>

/** Where parts are, and with what they are written. */
export interface FolderOptions {
  readonly folder: string
  /** Default: those of Node. */
  readonly files?: Files
  /** How long the folder may be silent. Default 60 000; more where many bytes are moved. */
  readonly patienceMs?: number
}

type Result<A> = Promise<E.Either<StreamError, A>>

/** A snapshot store in a folder, which is made when it is not there. */
export const fsSnapshotStore = ({
  folder,
  files = fs,
  patienceMs = defaultPatienceMs,
}: FolderOptions): SnapshotStore => {
  const wait = patienceWith(folder, patienceMs)
  return {
    write: (job, part, chunks, ttlMs) => async () => {
      const problem = partProblem(part, chunks, ttlMs)
      if (problem !== undefined) {
        const message = `${partName(job, part)} cannot be stored: ${problem}`
        return E.left(streamError('invalid', message))
      }
      const content = [encodeHeader(job, part, chunks, ttlMs), ...chunks]
      const doing = `store ${partName(job, part)}`
      return wait(doing, part.bytes, async () => {
        try {
          await write(files, join(folder, fileToken(job)), partFile(part), content, ttlMs)
          return E.right(undefined)
        } catch (thrown) {
          return E.left(folderError(folder, doing, thrown))
        }
      })
    },
    read: (job, part) => () =>
      wait(`read ${partName(job, part)}`, part.bytes, () => read(files, folder, job, part)),
  }
}

const write = async (
  files: Files,
  folder: string,
  file: string,
  content: readonly Uint8Array[],
  ttlMs: number,
): Promise<void> => {
  await makeFolder(files, folder)
  try {
    await writeWhole(files, folder, file, content, ttlMs)
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT') throw thrown
    // The end of an earlier life of the job has removed the empty folder meanwhile.
    await makeFolder(files, folder)
    await writeWhole(files, folder, file, content, ttlMs)
  }
}

/** Makes the folder of a job, and all above it, to last. */
export const makeFolder = async (files: Files, folder: string): Promise<void> => {
  const first = await files.mkdir(folder, { recursive: true })
  if (first !== undefined) await syncFolder(files, join(folder, '..'))
}

/** FS1, in its order. */
export const writeWhole = async (
  files: Files,
  folder: string,
  file: string,
  content: readonly Uint8Array[],
  ttlMs: number,
): Promise<void> => {
  const temporary = join(folder, temporaryFile(file, ttlMs, randomUUID()))
  try {
    const handle = await files.open(temporary, 'wx')
    try {
      for (const bytes of content) await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await files.rename(temporary, join(folder, file))
  } catch (thrown) {
    // Room is made at once where it can be; otherwise the sweep does so.
    await files.unlink(temporary).catch(() => undefined)
    throw thrown
  }
  await syncFolder(files, folder)
}

/** A rename is sure to last when the folder has been synced. */
export const syncFolder = async (files: Files, folder: string): Promise<void> => {
  const handle = await files.open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const read = async (
  files: Files,
  folder: string,
  job: string,
  part: PartRef,
): Result<readonly Uint8Array[]> => {
  let content: Buffer
  try {
    content = await files.readFile(join(folder, fileToken(job), partFile(part)))
  } catch (thrown) {
    const isMissing = codeOf(thrown) === 'ENOENT'
    return E.left(
      isMissing
        ? missing(folder, job, part)
        : folderError(folder, `read ${partName(job, part)}`, thrown),
    )
  }
  const broken = (reason: string) => E.left(corrupt(folder, job, part, reason))
  const parsed = parseHeader(content)
  if (parsed === undefined || parsed === 'more') return broken('its first lines cannot be read')
  if (!isOf(parsed.header, job, part)) return broken('its first lines are those of another part')
  if (fileBytes(parsed) !== content.byteLength)
    return broken(`${content.byteLength} of ${fileBytes(parsed)} bytes are there`)
  const chunks = chunksOf(parsed, content)
  return partDigest(chunks) === part.digest
    ? E.right(chunks)
    : broken('its bytes do not match the digest')
}

const chunksOf = ({ header, bytes }: ParsedHeader, content: Buffer): readonly Uint8Array[] => {
  let at = bytes
  return header.sizes.map(size => {
    const chunk = content.subarray(at, at + size)
    at += size
    return chunk
  })
}

const missing = (folder: string, job: string, part: PartRef): StreamError =>
  streamError('missing', `${partName(job, part)} is not in the folder ${JSON.stringify(folder)}`, {
    next: 'Check that every machine has the same folder mounted there, and that nobody removes files from it.',
  })

const corrupt = (folder: string, job: string, part: PartRef, reason: string): StreamError =>
  streamError(
    'corrupt',
    `${partName(job, part)} in the folder ${JSON.stringify(folder)} is damaged: ${reason}`,
    { next: 'Restore the folder from its backup, or restore from a checkpoint that is whole.' },
  )
