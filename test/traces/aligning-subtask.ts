import {
  type Alignment,
  type AlignmentEffect,
  type AlignmentEvent,
  type AlignmentMode,
  initialAlignment,
  step,
} from '../../lib/protocol/alignment.js'

/**
 * A subtask that counts records, with a mailbox that holds back what arrives on a blocked channel.
 * It understands `a record`, `a barrier 1`, `a end` and `abort 1`, and tells what it did.
 */
export const aligningSubtask = (mode: AlignmentMode, channels: readonly string[]) => {
  let state: Alignment = initialAlignment({ mode, channels, closedThrough: 0 })
  let count = 0
  const blocked = new Set<string>()
  let held: { readonly channel: string; readonly words: readonly string[] }[] = []

  const apply = (event: AlignmentEvent): readonly string[] => {
    const [next, effects] = step(state, event)
    state = next
    return effects.map(perform)
  }

  const perform = (effect: AlignmentEffect): string => {
    switch (effect.type) {
      case 'block-channel':
        blocked.add(effect.channel)
        return `block ${effect.channel}`
      case 'unblock-channels':
        for (const channel of effect.channels) blocked.delete(channel)
        return `unblock ${effect.channels.join(' ')}`
      case 'take-snapshot':
        return `snapshot ${effect.epoch} holds ${count} after ${effect.alignmentMs} ms`
      case 'alignment-dropped':
        return `epoch ${effect.epoch} ${effect.reason}`
      case 'barrier-ignored':
        return `barrier ${effect.epoch} ignored`
    }
  }

  const receive = (channel: string, words: readonly string[], now: number): readonly string[] => {
    const [kind, epoch] = words
    if (kind === 'end') return apply({ type: 'channel-ended', channel, now })
    if (kind === 'barrier') {
      return apply({ type: 'barrier-received', channel, epoch: Number(epoch), final: false, now })
    }
    count += 1
    return [`count ${count}`]
  }

  /** Reads what was held back on channels that are open again, in order of arrival. */
  const readHeld = (now: number): readonly string[] => {
    const told: string[] = []
    const waiting = held
    held = []
    for (const { channel, words } of waiting) {
      if (blocked.has(channel)) held.push({ channel, words })
      else told.push(`${channel} ${words.join(' ')}`, ...receive(channel, words, now))
    }
    return told
  }

  return ([subject = '', ...words]: readonly string[], now: number): readonly string[] => {
    if (subject !== 'abort' && blocked.has(subject)) {
      held.push({ channel: subject, words })
      return ['held']
    }
    const told =
      subject === 'abort'
        ? apply({ type: 'checkpoint-aborted', epoch: Number(words[0]) })
        : receive(subject, words, now)
    return [...told, ...readHeld(now)]
  }
}
