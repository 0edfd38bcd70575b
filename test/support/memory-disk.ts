/**
 * The disk of a machine in virtual time, for copies of snapshots: it outlives the processes that run
 * there. Held to the contract of real folders in `test/contract/copy-folders.ts`.
 */
import * as E from 'fp-ts/lib/Either.js'
import { partDigest } from '../../lib/adapters/digest.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import type { CopyFolders, JobLife } from '../../lib/ports/copy-folders.js'
import type { StoredPart } from '../../lib/protocol/manifest.js'
import type { MemoryProcess, VirtualTime } from './memory-time.js'

/** A file: what its name says, and what is in it. */
export interface CopyFile {
  readonly life: JobLife
  readonly part: StoredPart
  readonly chunks: readonly Uint8Array[]
}

/** What a process does at a disk. */
export type DiskWork = 'write' | 'read' | 'remove' | 'sweep' | 'clear'

export class MemoryDisk {
  /** By name. */
  readonly files = new Map<string, CopyFile>()
  /** What was done, in order, with the subtask that it was about. */
  readonly works: string[] = []
  /** How long a work takes. */
  latencyMs = (_process: string): number => 1
  /** Whether a work fails, before anything is done. */
  fails = (_process: string, _work: DiskWork): boolean => false
  /** What is in a file that was written, which may be something else. */
  spoil = (_process: string, chunks: readonly Uint8Array[]): readonly Uint8Array[] => chunks

  constructor(readonly time: VirtualTime) {}

  /** The disk as one process has it: what a process that was killed had begun comes to nothing. */
  of(process: MemoryProcess): CopyFolders {
    const work = <A>(
      kind: DiskWork,
      about: string,
      act: () => E.Either<StreamError, A>,
    ): (() => Promise<E.Either<StreamError, A>>) => {
      return () =>
        new Promise(resolve => {
          this.time.after(this.latencyMs(process.name), () =>
            process.enter(() => {
              this.works.push(`${kind} ${about}`)
              if (this.fails(process.name, kind))
                resolve(E.left(streamError('full', `no ${kind}: ENOSPC`)))
              else resolve(act())
            }),
          )
        })
    }
    return {
      write: (life, part, chunks) =>
        work('write', aboutOf(part), () => {
          const spoiled = this.spoil(
            process.name,
            chunks.map(chunk => chunk.slice()),
          )
          this.files.set(fileOf(life, part), { life, part, chunks: spoiled })
          return E.right(undefined)
        }),
      read: (life, part) => work('read', aboutOf(part), () => this.#read(life, part)),
      remove: (life, part) =>
        work('remove', aboutOf(part), () => {
          this.files.delete(fileOf(life, part))
          return E.right(undefined)
        }),
      sweep: (life, generation, subtasks, needed) =>
        work('sweep', `${generation}`, () => {
          const stays = new Set(needed.map(part => fileOf(life, part)))
          return E.right(
            this.#removeAll(
              (file, name) =>
                isOf(file, life) &&
                subtasks.includes(file.part.subtask) &&
                file.part.generation < generation &&
                !stays.has(name),
            ),
          )
        }),
      clear: life =>
        work('clear', life.jobId, () => {
          this.#removeAll(file => isOf(file, life))
          return E.right(undefined)
        }),
    }
  }

  #read(life: JobLife, part: StoredPart): E.Either<StreamError, readonly Uint8Array[] | undefined> {
    const file = this.files.get(fileOf(life, part))
    if (file === undefined) return E.right(undefined)
    return partDigest(file.chunks) === part.digest
      ? E.right(file.chunks.map(chunk => chunk.slice()))
      : E.left(streamError('corrupt', `the copy of ${aboutOf(part)} is damaged`))
  }

  #removeAll(isUnwanted: (file: CopyFile, name: string) => boolean): number {
    const names = [...this.files].filter(([name, file]) => isUnwanted(file, name))
    for (const [name] of names) this.files.delete(name)
    return names.length
  }
}

const aboutOf = ({ subtask, epoch }: StoredPart): string => `${subtask} ${epoch}`

const isOf = ({ life }: CopyFile, { job, jobId }: JobLife): boolean =>
  life.job === job && life.jobId === jobId

const fileOf = ({ job, jobId }: JobLife, part: StoredPart): string =>
  JSON.stringify([job, jobId, part.generation, part.epoch, part.subtask, part.digest])
