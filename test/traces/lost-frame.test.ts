import test from 'ava'
import { ChannelReader, ChannelWriter, type SendFrame } from '../../lib/protocol/channel.js'
import { replay } from './replay.js'

/**
 * A channel's two ends. `2/1` is frame 2 in attempt 1. Understands `push`, `tick`, `disconnect` and
 * `reconnect`, the log's answers `ack 1/1` and `refuse 1/1`, the reader's `receive 1`, and `credit
 * 1`.
 */
const channel = () => {
  const writer = new ChannelWriter({ bytesMax: 3, ackTimeoutMs: 2_000, stallTimeoutMs: 30_000 })
  const reader = new ChannelReader({ windowBytes: 8, stallTimeoutMs: 30_000 })
  const sending = (sends: readonly SendFrame[]): readonly string[] =>
    sends.map(({ number, attempt }) => `send ${number}/${attempt}`)

  return ([command = '', argument = '']: readonly string[], now: number): readonly string[] => {
    const [number = 0, attempt = 0] = argument.split('/').map(Number)
    switch (command) {
      case 'push': {
        const send = writer.push(new Uint8Array(1), 1, now)
        const sent = send === undefined ? ['held'] : sending([send])
        return writer.blocked ? [...sent, 'blocked'] : sent
      }
      case 'tick': {
        const { sends, stalled } = writer.tick(now)
        const sent = sending(sends)
        return stalled === undefined ? sent : [...sent, `stalled at ${stalled.firstUnacked}`]
      }
      case 'ack':
        writer.stored(number, attempt, now)
        return [`${writer.unacked} unacked`]
      case 'refuse':
        writer.refused(number, attempt, now)
        return [`${writer.unacked} unacked`, `wake at ${writer.nextWakeAt()}`]
      case 'receive': {
        const verdict = reader.accept(number, now)
        const credit = verdict === 'accept' ? reader.processed(number, 1) : undefined
        return credit === undefined ? [verdict] : [verdict, `credit ${credit}`]
      }
      case 'credit': {
        const outcome = writer.credit(number, now)
        return [outcome, `${writer.outstandingBytes} outstanding`]
      }
      case 'disconnect':
        writer.disconnected()
        return []
      case 'reconnect':
        writer.reconnected(now)
        return []
      default:
        throw new Error(`no command: ${command}`)
    }
  }
}

test('a frame lost on its way is re-driven with all that follow it', t => {
  const trace = `
       0  push         → send 1/1
       0  push         → send 2/1
       0  push         → send 3/1, blocked
       1  receive 1    → accept
       1  ack 1/1      → 2 unacked
    Frame 2 is lost. Frame 3 is stored, but of no use to a reader that waits for 2.
       2  receive 3    → gap
       2  ack 3/1      → 2 unacked
    1999  tick         → -
    2000  tick         → send 2/2, send 3/2
    2001  receive 2    → accept, credit 2
    2001  receive 3    → accept
    2002  credit 2     → advanced, 1 outstanding
    2002  ack 3/1      → 1 unacked
    2003  ack 3/2      → 0 unacked
    2003  credit 2     → stale, 1 outstanding
  `
  t.is(replay(trace, channel()), trace)
})

test('a full log refuses a window: one re-drive, and what was pushed meanwhile goes with it', t => {
  const trace = `
       0  push         → send 1/1
       0  push         → send 2/1
       1  refuse 1/1   → 2 unacked, wake at 11
       2  refuse 2/1   → 2 unacked, wake at 11
       3  push         → held, blocked
      11  tick         → send 1/2, send 2/2, send 3/2
      12  refuse 1/2   → 3 unacked, wake at 32
    The window behind a refused frame may be stored: the reader drops it, the writer sends it again.
      13  ack 2/2      → 3 unacked
      13  receive 2    → gap
      32  tick         → send 1/3, send 2/3, send 3/3
      33  receive 1    → accept
      33  receive 2    → accept, credit 2
      33  receive 3    → accept
      34  ack 1/3      → 2 unacked
      34  ack 2/3      → 1 unacked
      34  ack 3/3      → 0 unacked
  `
  t.is(replay(trace, channel()), trace)
})

test('a reconnect re-drives what is in flight, and the reader drops what it has', t => {
  const trace = `
       0  push         → send 1/1
       0  push         → send 2/1
       1  receive 1    → accept
       2  disconnect   → -
       3  push         → held, blocked
    2500  tick         → -
    3000  reconnect    → -
    3000  tick         → send 1/2, send 2/2, send 3/2
    3001  receive 1    → duplicate
    3001  receive 2    → accept, credit 2
    3001  receive 3    → accept
    3002  ack 1/1      → 3 unacked
    3002  ack 1/2      → 2 unacked
    3002  credit 2     → advanced, 1 outstanding
    3003  ack 3/2      → 0 unacked
  `
  t.is(replay(trace, channel()), trace)
})
