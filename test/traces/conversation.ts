/**
 * A sink's output and its stream, and what they say to each other: `g1` is the output of generation 1; `a 1/0
 * after 10` is record a, index 0 of epoch 1, which the server stores only if the subject's last sequence is 10.
 */
import {
  type OutputEffect,
  type OutputOptions,
  type OutputSnapshot,
  type Stamp,
  stampOf,
  TransactionalOutput,
} from '../../lib/protocol/commit.js'

type Publish = Extract<OutputEffect, { type: 'publish' }>

const identity = { job: 'job-1', sink: 'out', subtask: 0 }

const place = (stamp: Stamp): string => `${stamp.epoch}/${stamp.index} by g${stamp.generation}`

/** A stream that captures one subject, and the log of what is said to it and by it. */
export class Conversation {
  readonly lines: string[] = []
  readonly #stored: { readonly text: string; readonly stamp: Stamp | undefined }[] = []

  say(from: string, what: string): void {
    this.lines.push(`${from.padEnd(6)} ${what}`)
  }

  get content(): string {
    return this.#stored.map(({ text }) => text).join(' ')
  }

  store(name: string, output: TransactionalOutput, message: Publish): void {
    const { token, expectedLastSubjectSequence, headers, payload } = message
    const actual = this.#stored.length
    if (expectedLastSubjectSequence !== actual) {
      this.say('stream', `refuses, its last sequence is ${actual} (to ${name})`)
      output.outcome(token, { type: 'wrong-last-sequence', actual }, 0)
      return
    }
    const text = new TextDecoder().decode(payload)
    this.#stored.push({ text, stamp: stampOf(headers, identity) })
    this.say('stream', `stores ${text} at ${actual + 1}`)
    output.outcome(token, { type: 'stored', sequence: actual + 1 }, 0)
  }

  tellLast(output: TransactionalOutput): void {
    const last = this.#stored.at(-1)
    const sequence = this.#stored.length
    if (last === undefined) {
      this.say('stream', 'is empty')
      output.lastRead({ type: 'empty', firstSequence: 1, lastSequence: 0 }, 0)
      return
    }
    const stamp = last.stamp === undefined ? 'foreign' : place(last.stamp)
    this.say('stream', `ends at ${sequence} with ${stamp}`)
    output.lastRead({ type: 'found', sequence, ours: last.stamp }, 0)
  }
}

/** One generation's output in the conversation. What it publishes stays in `wire` until it is delivered. */
export class Speaker {
  readonly wire: Publish[] = []
  readonly #name: string

  constructor(
    readonly conversation: Conversation,
    readonly output: TransactionalOutput,
    generation: number,
  ) {
    this.#name = `g${generation}`
  }

  /** Notes what the output wants, and answers what it asks. */
  listen(): void {
    for (const effect of this.output.takeEffects()) {
      this.conversation.say(this.#name, this.#text(effect))
      if (effect.type === 'publish') this.wire.push(effect)
      if (effect.type !== 'read-last') continue
      this.conversation.tellLast(this.output)
      this.listen()
    }
  }

  #text(effect: OutputEffect): string {
    switch (effect.type) {
      case 'publish': {
        const stamp = stampOf(effect.headers, identity)
        const text = new TextDecoder().decode(effect.payload)
        return `${text} ${stamp?.epoch}/${stamp?.index} after ${effect.expectedLastSubjectSequence}`
      }
      case 'read-last':
        return 'reads the last message'
      case 'committed':
        return `committed ${effect.epoch}`
      case 'fenced':
        return `fenced by g${effect.generation}`
      default:
        return effect.type
    }
  }

  prepare(epoch: number, ...texts: string[]): OutputSnapshot {
    for (const text of texts) this.output.add(new TextEncoder().encode(text))
    this.output.prepare(epoch)
    this.conversation.say(this.#name, `prepares ${epoch}: ${texts.join(' ')}`)
    return this.output.snapshot()
  }

  completed(epoch: number): void {
    this.conversation.say('', `checkpoint ${epoch} completes (to ${this.#name})`)
    this.output.completed(epoch)
    this.listen()
  }

  /** The next messages on the wire arrive, and their answers come back. */
  deliver(count = this.wire.length): void {
    for (const message of this.wire.splice(0, count)) {
      this.conversation.store(this.#name, this.output, message)
    }
    this.listen()
  }
}

const optionsOf = (generation: number): OutputOptions => ({
  ...identity,
  generation,
  subject: 'out',
  mode: 'transactional',
  exclusive: true,
})

/** The output of generation 1 of a new job, ready. */
export const start = (conversation: Conversation): Speaker => {
  const speaker = new Speaker(conversation, TransactionalOutput.start(optionsOf(1)), 1)
  speaker.listen()
  return speaker
}

/** The output of generation 2, which has not asked anything yet. */
export const restore = (
  conversation: Conversation,
  restoredEpoch: number,
  snapshot: OutputSnapshot,
) => {
  conversation.say('', `generation 2 restores checkpoint ${restoredEpoch}`)
  const output = TransactionalOutput.restore(optionsOf(2), { restoredEpoch, ...snapshot })
  return new Speaker(conversation, output, 2)
}

/** The conversation as text. */
export const reads = (conversation: Conversation): string => `\n${conversation.lines.join('\n')}\n`
