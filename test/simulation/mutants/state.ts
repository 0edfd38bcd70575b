/** Bugs in what a snapshot holds and what is made of it. */
import type { Mutant } from './mutant.js'

const subtask = 'actors/subtask.ts'

export const stateMutants: readonly Mutant[] = [
  {
    name: 'the snapshot waits for a turn of the event loop',
    rules: ['P4', 'A5'],
    file: 'actors/mailbox.ts',
    find: `        this.options.onSnapshot(effect.epoch, effect.final, triggeredAt, effect.alignmentMs)`,
    replace: `        this.options.scheduler.defer(() =>
          this.options.onSnapshot(effect.epoch, effect.final, triggeredAt, effect.alignmentMs),
        )`,
  },
  {
    name: 'state is captured behind the barrier, when the turn of work is over',
    rules: ['P4', 'KS1'],
    file: subtask,
    find: `    if (this.loop === undefined) this.store({ epoch, sections, base, looped: 0 }, times, release)
    else`,
    replace: `    if (this.loop === undefined) {
      void Promise.resolve().then(() => {
        const late = this.capture(captured, epoch, base)
        this.store({ epoch, sections: late, base, looped: 0 }, times, release)
      })
    } else`,
  },
  {
    name: 'a captured group is written in place',
    rules: ['KS1'],
    file: 'lib/state/keyed-state.ts',
    find: `    if (shard !== undefined && shard.holds === 0) return shard.entries`,
    replace: `    if (shard !== undefined && shard.holds >= 0) return shard.entries`,
  },
  {
    name: 'outputs file their records after the state was captured',
    rules: ['P4', 'S1'],
    file: subtask,
    find: `    for (const output of this.outputs.values()) output.prepare(epoch, final)
    if (this.disposed) return // One has failed by it.
    this.loop?.begin(epoch)
    const captured: CapturedState<unknown>[] = []
    const base = this.takeBase(epoch)
    const sections = this.capture(captured, epoch, base)`,
    replace: `    const captured: CapturedState<unknown>[] = []
    const base = this.takeBase(epoch)
    const sections = this.capture(captured, epoch, base)
    for (const output of this.outputs.values()) output.prepare(epoch, final)`,
  },
  {
    name: 'a key group is restored one place too low',
    rules: ['KS5', 'KG1'],
    file: subtask,
    find: `        state.restore(group, entries)`,
    replace: `        state.restore(Math.max(group - 1, this.subtask.keyGroups.from), entries)`,
  },
  {
    name: "the upper half of a subtask's key groups is not restored",
    rules: ['SD3', 'KG2'],
    file: 'lib/state/snapshot-decode.ts',
    find: `    if (item.group < from || item.group > to) return undefined
    const raw = this.deserialize(item.bytes)
    if (E.isLeft(raw)) return raw.left
    const run`,
    replace: `    if (item.group < from || item.group > (from + to) / 2) return undefined
    const raw = this.deserialize(item.bytes)
    if (E.isLeft(raw)) return raw.left
    const run`,
  },
  {
    name: 'changes are forgotten when their snapshot was stored, not when it has completed',
    rules: ['IN1', 'KS8'],
    file: subtask,
    find: `          this.increments = withPart(this.increments, right)`,
    replace: `          this.increments = withPart(this.increments, right)
          for (const state of this.states.values()) state.forgetChanges(epoch)`,
  },
  {
    name: 'a snapshot builds on one that has not completed, and leaves out what that one held',
    rules: ['IN1'],
    file: 'lib/protocol/increment.ts',
    find: `  pending: [...state.pending, part],`,
    replace: `  completed: part,
  pending: [...state.pending, part],`,
  },
  {
    name: 'what a snapshot of changes builds on is not restored',
    rules: ['SM2'],
    file: 'lib/state/snapshot-merge.ts',
    find: `    keyed.set(operator, entriesOf(chain.slice(from), operator))`,
    replace: `    keyed.set(operator, entriesOf(chain.slice(from).slice(-1), operator))`,
  },
  {
    name: 'a snapshot holds no prepared output',
    rules: ['P7', 'S1'],
    file: 'actors/output.ts',
    find: `  ...transactions.map(({ epoch, firstIndex, records }) => ({`,
    replace: `  ...transactions.slice(0, 0).map(({ epoch, firstIndex, records }) => ({`,
  },
  {
    name: 'dead letters are no part of a snapshot',
    rules: ['P7'],
    file: subtask,
    find: `      sections.push({ kind: 'output', operator, prepared: output.snapshot() })`,
    replace: `      const prepared = operator === deadLetters ? [] : output.snapshot()
      sections.push({ kind: 'output', operator, prepared })`,
  },
  {
    name: 'parts of a snapshot expire before their checkpoint can complete',
    rules: ['P11'],
    file: 'actors/snapshot-writer.ts',
    find: `  const ttlMs = 3 * (plan.graph.checkpoint?.timeoutMs ?? defaultTimeoutMs)`,
    replace: `  const ttlMs = Math.ceil((plan.graph.checkpoint?.timeoutMs ?? defaultTimeoutMs) / 100)`,
  },
  {
    name: 'a copy of a snapshot is used whatever its bytes are',
    rules: ['LC1'],
    file: 'lib/state/local-copies.ts',
    find: `    if (this.digestOf(copy.chunks) === part.digest) return copy.chunks`,
    replace: `    if (this.digestOf(copy.chunks) !== '') return copy.chunks`,
  },
  {
    name: 'what changed before a checkpoint that was aborted is forgotten with it',
    rules: ['KS8'],
    file: 'lib/state/keyed-state.ts',
    find: `    if (layer === undefined || this.#changed === undefined) return`,
    replace: `    this.#layers = this.#layers.filter(other => other !== layer)
    if (at > -2 || layer === undefined || this.#changed === undefined) return`,
  },
  {
    name: 'reports carry what is small, whatever the others of their subtask carry',
    rules: ['IP1'],
    file: 'lib/protocol/inline.ts',
    find: `  return sum > rules.shareBytes && bytes > 0 ? undefined : { rules, carried: next } // IP1`,
    replace: `  return bytes > rules.shareBytes && sum > 0 ? undefined : { rules, carried: next }`,
  },
  {
    name: 'what a stored snapshot of changes builds on in manifests is not counted',
    rules: ['IP1'],
    file: 'actors/subtask.ts',
    find: `    const inlined = base === undefined ? undefined : withBase(this.inlined, epoch, base)`,
    replace: `    const inlined = base === undefined || epoch < 1 ? undefined : this.inlined`,
  },
  {
    name: 'what a manifest holds is looked for in the store',
    rules: ['IP2'],
    file: 'lib/protocol/manifest.ts',
    find: `      if (one.inline !== undefined) continue // IP2`,
    replace: `      if (one.inline?.length === 0) continue`,
  },
  {
    name: 'what is in a manifest is stored as well',
    rules: ['IP2'],
    file: 'actors/snapshot-writer.ts',
    find: `  if (snapshot.carries(part)) {
    const carried = inlinePart(part, chunks.right)`,
    replace: `  if (snapshot.carries(part)) {
    const carried = inlinePart(part, chunks.right)
    await ports.snapshots.write(plan.job, part, chunks.right, 60_000)()`,
  },
  {
    name: 'what a snapshot of changes in a manifest builds on is not there',
    rules: ['SM2', 'IP2'],
    file: 'actors/snapshot-writer.ts',
    find: `    const carried = inlinePart(part, chunks.right)`,
    replace: `    const { bases: _, ...alone } = part
    const carried = inlinePart(base === undefined ? part : alone, chunks.right)`,
  },
  {
    name: 'a rebalanced edge runs past its last channel',
    rules: ['C1'],
    file: 'actors/routing.ts',
    find: `    turn = turn + 1 === count ? 0 : turn + 1`,
    replace: `    turn = turn === count ? 0 : turn + 1`,
  },
]
