/**
 * The copies that a worker keeps of what it wrote: in memory, and on disk where folders are given.
 *
 * What is kept is decided in `lib/state/local-copies.ts`; the disk follows, one step at a time and
 * beside everything else. A step is worked out from what is wanted when it begins, so that a disk that
 * is slower than the checkpoints skips some, and no checkpoint or restart waits for it, or fails by it.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../lib/errors.js'
import type { CopyFolders, JobLife } from '../lib/ports/copy-folders.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import type { Epoch, Generation, SubtaskId } from '../lib/protocol/ids.js'
import { chainOf } from '../lib/protocol/increment.js'
import type { Manifest, PartRef, StoredPart } from '../lib/protocol/manifest.js'
import { type Copy, LocalCopies } from '../lib/state/local-copies.js'

/** What is kept, and with what. */
export interface CopiesOptions {
  readonly job: string
  /** Checkpoints that may be pending at a time. */
  readonly pendingMax: number
  readonly digestOf: (chunks: readonly Uint8Array[]) => string
  /** Undefined: copies are kept in memory only. */
  readonly folders: CopyFolders | undefined
  readonly scheduler: Scheduler
  /** Told when a copy cannot be used, and when the first of several in a row cannot be kept. */
  readonly onTrouble: (error: StreamError) => void
}

/** Where a copy was found. */
export type CopyPlace = 'memory' | 'disk'

/** The bytes of a part, verified. */
export interface FoundCopy {
  readonly place: CopyPlace
  readonly chunks: readonly Uint8Array[]
}

/** Time for one part, and for its bytes: more than any disk needs that is of use. */
const readWithinMs = 30_000
const bytesPerMs = 10_000

type Step = (folders: CopyFolders) => Promise<void>

/** The copies of one worker, over all its generations. */
export class Copies {
  private memory: LocalCopies
  private life: JobLife | undefined
  /** Lives of the job that are over, and may have left something. */
  private over: JobLife[] = []
  /** What this worker runs now: copies of others are their workers' to remove. */
  private subtasks: readonly SubtaskId[] = []
  /** What the generation began with, until a newer checkpoint completes. */
  private restored: readonly StoredPart[] = []
  private restoredEpoch: Epoch = 0
  private sweep: Step | undefined
  /** What is on disk, as far as this process knows; also what could not be written. */
  private readonly onDisk = new Map<string, StoredPart>()
  private working: Promise<void> | undefined
  private failing = false
  /** For the history of the next checkpoint. */
  private untold: string | undefined
  /** A disk that did not answer is not asked again. */
  private isStuck = false
  private disposed = false

  constructor(private readonly options: CopiesOptions) {
    this.memory = this.nothing()
  }

  /** A generation begins: what it does not restore is not needed any more. */
  begin(
    jobId: string,
    generation: Generation,
    subtasks: readonly SubtaskId[],
    restore: Manifest | undefined,
  ): void {
    const life: JobLife = { job: this.options.job, jobId }
    if (this.life !== undefined && this.life.jobId !== jobId) {
      this.over.push(this.life)
      this.memory = this.nothing()
      this.onDisk.clear()
    }
    this.life = life
    this.subtasks = subtasks
    this.restoredEpoch = restore?.epoch ?? 0
    this.memory.begin(generation, this.restoredEpoch)
    const own = restore?.parts.filter(part => subtasks.includes(part.subtask)) ?? []
    this.restored = own.flatMap(chainOf)
    // What runs elsewhere now may be restored from here by another process of this machine.
    for (const [name, part] of this.onDisk)
      if (!subtasks.includes(part.subtask)) this.onDisk.delete(name)
    // What this process has not written itself, one before it may have.
    const known = new Set(subtasks.flatMap(subtask => this.memory.of(subtask)).map(nameOfCopy))
    for (const part of this.restored)
      if (!known.has(nameOf(part))) this.onDisk.set(nameOf(part), part)
    const { restored } = this
    this.sweep = folders => this.tried(folders.sweep(life, generation, subtasks, restored))
    this.work()
  }

  /** Keeps what was stored. The chunks are not copied: nobody may write to them. */
  keep(part: PartRef, chunks: readonly Uint8Array[]): void {
    this.memory.keep(part, chunks)
    this.work()
  }

  /** An epoch has completed: what is older will not be restored. */
  completed(epoch: Epoch): void {
    this.memory.completed(epoch)
    if (epoch > this.restoredEpoch) this.restored = []
    this.work()
  }

  /** An epoch will not complete. */
  aborted(epoch: Epoch): void {
    this.memory.aborted(epoch)
    this.work()
  }

  /** The bytes of a part, from memory or else from disk; undefined: the store is to be asked. */
  async find(part: StoredPart): Promise<FoundCopy | undefined> {
    const inMemory = this.memory.find(part)
    if (inMemory !== undefined) return { place: 'memory', chunks: inMemory }
    const { folders, onTrouble } = this.options
    const { life } = this
    if (folders === undefined || life === undefined || this.isStuck) return undefined
    const read = await this.answered(part, folders.read(life, part))
    if (E.isRight(read))
      return read.right === undefined ? undefined : { place: 'disk', chunks: read.right }
    onTrouble(read.left)
    if (read.left.type === 'corrupt') await this.tried(folders.remove(life, part))
    return undefined
  }

  /** Why copies cannot be kept on disk, once for each time that this begins. */
  takeTrouble(): string | undefined {
    const { untold } = this
    this.untold = undefined
    return untold
  }

  /** The job is over: nothing of it is needed. Resolves when that is gone, or cannot be removed. */
  async end(jobId: string): Promise<void> {
    this.dispose()
    await this.working
    const { job, folders } = this.options
    if (folders !== undefined) await this.tried(folders.clear({ job, jobId }))
  }

  /** Begins nothing any more; what is on disk stays, for the next process. */
  dispose(): void {
    this.disposed = true
  }

  /** The store may be far away, but it answers. */
  private async answered<A>(
    { bytes }: StoredPart,
    work: () => Promise<E.Either<StreamError, A>>,
  ): Promise<E.Either<StreamError, A>> {
    const withinMs = readWithinMs + Math.ceil(bytes / bytesPerMs)
    let cancel = (): void => {}
    const late = new Promise<E.Either<StreamError, A>>(resolve => {
      cancel = this.options.scheduler.after(withinMs, () => {
        this.isStuck = true
        const message = `a folder for copies has not answered within ${withinMs} ms`
        const next = 'Check localRecoveryFolders on this machine; the store is read instead.'
        resolve(E.left(streamError('timed-out', message, { next })))
      })
    })
    const answer = await Promise.race([work(), late])
    cancel()
    return answer
  }

  private nothing(): LocalCopies {
    return new LocalCopies(this.options.pendingMax, this.options.digestOf)
  }

  private work(): void {
    const { folders } = this.options
    if (folders === undefined || this.working !== undefined) return
    const step = this.next()
    if (step === undefined) return
    this.working = step(folders).then(() => {
      this.working = undefined
      this.work()
    })
  }

  /** What is to be done next. Room is made before it is taken. */
  private next(): Step | undefined {
    const { life } = this
    if (this.disposed || life === undefined) return undefined
    const over = this.over.shift()
    if (over !== undefined) return folders => this.tried(folders.clear(over))
    const { sweep } = this
    this.sweep = undefined
    if (sweep !== undefined) return sweep
    // What lies in the manifest needs no copy, and a disk none of it.
    const copies = this.subtasks
      .flatMap(subtask => this.memory.of(subtask))
      .filter(({ part }) => part.inline === undefined)
    const wanted = new Set([...this.restored.map(nameOf), ...copies.map(nameOfCopy)])
    for (const [name, part] of this.onDisk) {
      if (wanted.has(name)) continue
      this.onDisk.delete(name)
      return folders => this.tried(folders.remove(life, part))
    }
    const missing = copies.find(({ part }) => !this.onDisk.has(nameOf(part)))
    if (missing === undefined) return undefined
    const { part, chunks } = missing
    this.onDisk.set(nameOf(part), part)
    return async folders => {
      const written = await folders.write(life, part, chunks)()
      if (E.isRight(written)) this.failing = false
      else this.fail(written.left)
    }
  }

  private async tried(work: () => Promise<E.Either<StreamError, unknown>>): Promise<void> {
    const done = await work()
    if (E.isLeft(done)) this.fail(done.left)
  }

  private fail(error: StreamError): void {
    if (!this.failing) {
      this.options.onTrouble(error)
      this.untold = error.message
    }
    this.failing = true
  }
}

const nameOfCopy = ({ part }: Copy): string => nameOf(part)

/** Ids are never used twice in a life (P1). */
const nameOf = ({ generation, epoch, subtask }: StoredPart): string =>
  `${generation} ${epoch} ${subtask}`
