/**
 * Replays a conversation that is written as text, one event per line: `time  event → what it
 * causes`. Times and events are performed; the answer is the same text with what was really caused,
 * so that a test compares two texts and a reviewer reads the protocol in the difference.
 */
export const replay = (
  trace: string,
  perform: (words: readonly string[], now: number) => readonly string[],
): string =>
  trace
    .split('\n')
    .map(line => {
      const arrow = line.indexOf('→')
      if (arrow < 0) return line
      const [time, ...words] = line.slice(0, arrow).trim().split(/\s+/)
      const caused = perform(words, Number(time))
      return `${line.slice(0, arrow)}→ ${caused.length === 0 ? '-' : caused.join(', ')}`
    })
    .join('\n')
