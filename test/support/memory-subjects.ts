/** Which subjects have something in common: the rules of NATS, made quick for those without wildcards. */

/** A subject may hold `*` and `>` only as wildcards. */
const isLiteral = (subject: string): boolean => !subject.includes('*') && !subject.includes('>')

/** Whether two subjects, wildcards allowed, have a subject in common. */
export const overlap = (left: string, right: string): boolean => {
  if (left === right) return true
  if (isLiteral(left) && isLiteral(right)) return false
  const a = left.split('.')
  const b = right.split('.')
  for (let i = 0; i < Math.max(a.length, b.length); i += 1) {
    if ((a[i] === '>' && b[i] !== undefined) || (b[i] === '>' && a[i] !== undefined)) return true
    if (a[i] === undefined || b[i] === undefined) return false
    if (a[i] !== '*' && b[i] !== '*' && a[i] !== b[i]) return false
  }
  return true
}

/** A subject, wildcards allowed, made ready for many others. */
export class Pattern {
  readonly isLiteral: boolean
  readonly #known = new Map<string, boolean>()

  constructor(readonly subject: string) {
    this.isLiteral = isLiteral(subject)
  }

  overlaps(other: string): boolean {
    if (other === this.subject) return true
    let verdict = this.#known.get(other)
    if (verdict === undefined) {
      verdict = overlap(this.subject, other)
      remember(this.#known, other, verdict)
    }
    return verdict
  }
}

const rememberedMax = 10_000

/** Keeps what is known of a subject; jobs make new subjects in every generation, so all is forgotten at times. */
export const remember = <V>(known: Map<string, V>, subject: string, value: V): void => {
  if (known.size >= rememberedMax) known.clear()
  known.set(subject, value)
}
