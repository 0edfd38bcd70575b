/**
 * Conversations between a sink's output and its stream, to be read. `g1` is the output of generation 1; `a 1/0
 * after 10` is record a, index 0 of epoch 1, which the server stores only if the subject's last sequence is 10.
 */
import test from 'ava'
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
class Conversation {
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
class Speaker {
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

const start = (conversation: Conversation): Speaker => {
  const speaker = new Speaker(conversation, TransactionalOutput.start(optionsOf(1)), 1)
  speaker.listen()
  return speaker
}

const restore = (conversation: Conversation, restoredEpoch: number, snapshot: OutputSnapshot) => {
  conversation.say('', `generation 2 restores checkpoint ${restoredEpoch}`)
  const output = TransactionalOutput.restore(optionsOf(2), { restoredEpoch, ...snapshot })
  return new Speaker(conversation, output, 2)
}

const reads = (conversation: Conversation): string => `\n${conversation.lines.join('\n')}\n`

test('a clean commit: records wait for their checkpoint, then go out in one window', t => {
  const conversation = new Conversation()
  const g1 = start(conversation)
  g1.prepare(1, 'a')
  g1.completed(1)
  g1.deliver()
  g1.prepare(2, 'b', 'c')
  g1.completed(2)
  g1.deliver()
  t.is(
    reads(conversation),
    `
g1     reads the last message
stream is empty
g1     recovered
g1     prepares 1: a
       checkpoint 1 completes (to g1)
g1     a 1/0 after 0
stream stores a at 1
g1     committed 1
g1     prepares 2: b c
       checkpoint 2 completes (to g1)
g1     b 2/0 after 1
g1     c 2/1 after 2
stream stores b at 2
stream stores c at 3
g1     committed 2
`,
  )
  t.is(conversation.content, 'a b c')
})

test('a crash in mid-transaction: the successor reads how far it came, and goes on there', t => {
  const conversation = new Conversation()
  const g1 = start(conversation)
  g1.prepare(1, 'a')
  g1.completed(1)
  g1.deliver()
  const snapshot = g1.prepare(2, 'b', 'c', 'd')
  g1.prepare(3, 'never completed')
  g1.completed(2)
  g1.deliver(1)
  conversation.say('g1', 'dies')
  const g2 = restore(conversation, 2, snapshot)
  g2.prepare(4, 'e')
  g2.listen()
  g2.deliver()
  g2.completed(4)
  g2.deliver()
  t.is(
    reads(conversation),
    `
g1     reads the last message
stream is empty
g1     recovered
g1     prepares 1: a
       checkpoint 1 completes (to g1)
g1     a 1/0 after 0
stream stores a at 1
g1     committed 1
g1     prepares 2: b c d
g1     prepares 3: never completed
       checkpoint 2 completes (to g1)
g1     b 2/0 after 1
g1     c 2/1 after 2
g1     d 2/2 after 3
stream stores b at 2
g1     dies
       generation 2 restores checkpoint 2
g2     prepares 4: e
g2     reads the last message
stream ends at 2 with 2/0 by g1
g2     c 2/1 after 2
g2     d 2/2 after 3
stream stores c at 3
stream stores d at 4
g2     recovered
g2     committed 2
       checkpoint 4 completes (to g2)
g2     e 4/0 after 4
stream stores e at 5
g2     committed 4
`,
  )
  t.is(conversation.content, 'a b c d e')
})

test('a zombie wakes: its window is refused, it reads who came after it, and stops for ever', t => {
  const conversation = new Conversation()
  const g1 = start(conversation)
  const snapshot = g1.prepare(1, 'a', 'b', 'c')
  g1.completed(1)
  g1.deliver()
  conversation.say('g1', 'sleeps, b and c are on the wire')
  const g2 = restore(conversation, 1, snapshot)
  g2.listen()
  g2.deliver(1)
  conversation.say('g1', 'wakes')
  g1.deliver(1)
  g2.deliver()
  g2.deliver()
  g1.deliver()
  t.is(
    reads(conversation),
    `
g1     reads the last message
stream is empty
g1     recovered
g1     prepares 1: a b c
       checkpoint 1 completes (to g1)
g1     a 1/0 after 0
stream stores a at 1
g1     b 1/1 after 1
g1     c 1/2 after 2
g1     sleeps, b and c are on the wire
       generation 2 restores checkpoint 1
g2     reads the last message
stream ends at 1 with 1/0 by g1
g2     b 1/1 after 1
g2     c 1/2 after 2
stream stores b at 2
g1     wakes
stream refuses, its last sequence is 2 (to g1)
stream stores c at 3
g2     recovered
g2     committed 1
stream refuses, its last sequence is 3 (to g1)
g1     reads the last message
stream ends at 3 with 1/2 by g2
g1     fenced by g2
`,
  )
  t.is(conversation.content, 'a b c')
})
