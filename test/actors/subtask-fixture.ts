import { SubtaskActor, type SubtaskOptions } from '../../actors/subtask.js'
import type { Job } from '../../lib/job/graph.js'
import { mailboxStream, mailboxSubjects } from '../../lib/protocol/addresses.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import { memoryCodec } from '../support/memory-codec.js'
import { JobWorld, memoryDigests } from '../support/memory-job.js'

/** One generation of a job's subtasks, without coordinator and workers: the test gives the orders. */
export class Subtasks {
  readonly world: JobWorld
  readonly all = new Map<string, SubtaskActor>()
  changes = 0

  constructor(
    job: Job,
    readonly generation = 1,
    world?: JobWorld,
  ) {
    this.world = world ?? new JobWorld({ job })
    const { plan, broker } = this.world
    for (const { id } of plan.subtasks) {
      const name = mailboxStream(plan.job, generation, id)
      const subjects = [mailboxSubjects(plan.job, generation, id)]
      broker.create({ name, subjects, storage: 'memory' })
    }
  }

  /** Starts to restore a subtask, or all of them. */
  deploy(more: Partial<SubtaskOptions> = {}, ...ids: readonly string[]): this {
    const { plan } = this.world
    for (const id of ids.length === 0 ? plan.subtasks.map(s => s.id) : ids) {
      const { process, log, bus, snapshots, scheduler } = this.world.connect(id)
      this.world.processes.set(id, process)
      const subtask = new SubtaskActor({
        plan,
        jobId: 'job-id-1',
        subtask: id,
        generation: this.generation,
        restore: undefined,
        freeze: true,
        ports: { log, bus, snapshots, scheduler, codec: memoryCodec, digests: memoryDigests },
        onChange: () => {
          this.changes += 1
        },
        ...more,
      })
      this.all.set(id, subtask)
      void subtask.restore()
    }
    return this
  }

  get(id: string): SubtaskActor {
    const subtask = this.all.get(id)
    if (subtask === undefined) throw new Error(`no subtask ${id}`)
    return subtask
  }

  phase(id: string): string {
    return this.get(id).state.phase
  }

  error(id: string): string {
    return this.get(id).state.error?.message ?? 'no error'
  }

  run(): this {
    for (const subtask of this.all.values()) subtask.run()
    return this
  }

  trigger(epoch: number, final = false): this {
    for (const subtask of this.all.values()) subtask.trigger(epoch, final, this.world.time.now)
    return this
  }

  complete(epoch: number): this {
    for (const subtask of this.all.values()) subtask.complete(epoch)
    return this
  }

  pass(ms = 50): Promise<void> {
    return this.world.time.pass(ms)
  }

  until(what: string, holds: () => boolean): Promise<void> {
    return this.world.time.run(what, holds, 60_000)
  }

  /** What a coordinator would write once every subtask has reported. */
  manifest(epoch: number): Manifest {
    const { plan } = this.world
    const parts = [...this.all.values()].map(({ state }) => {
      const report = state.reports.find(({ part }) => part.epoch === epoch)
      if (report === undefined) throw new Error(`${state.subtask} has not reported ${epoch}`)
      return report.part
    })
    return {
      version: 1,
      job: plan.job,
      jobId: 'job-id-1',
      epoch,
      generation: this.generation,
      maxParallelism: plan.graph.maxParallelism,
      graph: plan.fingerprint,
      triggeredAt: 0,
      completedAt: 0,
      parts,
      final: false,
    }
  }

  hasReported(epoch: number): boolean {
    return [...this.all.values()].every(({ state }) =>
      state.reports.some(({ part }) => part.epoch === epoch),
    )
  }
}
