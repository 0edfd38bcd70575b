import test from 'ava'
import { isLeft, isRight } from 'fp-ts/lib/Either.js'
import { InvariantViolation } from '../../lib/invariant.js'
import {
  decodeFrame,
  encodeFrame,
  type FrameHeader,
  frameHeaderBytes,
} from '../../lib/protocol/frame.js'
import { type Prng, prng, seedFromEnvironment } from '../support/prng.js'

const samples: readonly FrameHeader[] = [
  { type: 'data', generation: 1, number: 1, firstRecord: 1, records: 3 },
  { type: 'data', generation: 0, number: 0, firstRecord: 0, records: 0 },
  {
    type: 'data',
    generation: 0xffff_ffff,
    number: Number.MAX_SAFE_INTEGER,
    firstRecord: Number.MAX_SAFE_INTEGER,
    records: 0xffff_ffff,
  },
  { type: 'barrier', generation: 2, number: 7, epoch: 5, final: false, triggeredAt: 1.7e12 },
  {
    type: 'barrier',
    generation: 2,
    number: 2 ** 32,
    epoch: 2 ** 32 + 1,
    final: true,
    triggeredAt: 0,
  },
  { type: 'end', generation: 3, number: 9 },
]
const bodies = [new Uint8Array(0), Uint8Array.of(1, 2, 3, 255)]

const randomBytes = (random: Prng, length: number): Uint8Array =>
  Uint8Array.from({ length }, () => random.below(256))

test('F1: every frame decodes to what was encoded', t => {
  for (const header of samples) {
    for (const body of bodies) {
      const decoded = decodeFrame(encodeFrame(header, body))
      t.true(isRight(decoded))
      if (isRight(decoded)) t.deepEqual(decoded.right, { header, body })
    }
  }
})

test('F1: random frames decode to what was encoded', t => {
  const random = prng(seedFromEnvironment())
  t.log(`seed ${random.seed}`)
  const uint53 = () => random.below(2 ** random.below(54))
  const uint32 = () => random.below(2 ** random.below(33))
  for (let round = 0; round < 2_000; round += 1) {
    const numbered = { generation: uint32(), number: uint53() }
    const headers: readonly FrameHeader[] = [
      { type: 'data', ...numbered, firstRecord: uint53(), records: uint32() },
      {
        type: 'barrier',
        ...numbered,
        epoch: uint53(),
        final: random.chance(0.5),
        triggeredAt: uint53(),
      },
      { type: 'end', ...numbered },
    ]
    const header = headers[random.below(3)]
    if (header === undefined) return t.fail()
    const body = randomBytes(random, random.below(40))
    const decoded = decodeFrame(encodeFrame(header, body))
    if (!isRight(decoded)) return t.fail(decoded.left.message)
    t.deepEqual(decoded.right, { header, body })
  }
})

test('F1: a header that holds no valid integer is a defect', t => {
  const data = { type: 'data', generation: 1, number: 1, firstRecord: 1, records: 1 } as const
  for (const broken of [
    { ...data, generation: -1 },
    { ...data, generation: 2 ** 32 },
    { ...data, records: 0.5 },
    { ...data, number: Number.NaN },
    { ...data, firstRecord: 2 ** 53 },
  ]) {
    t.throws(() => encodeFrame(broken, new Uint8Array(0)), { instanceOf: InvariantViolation })
  }
})

test('F2: every proper prefix of a frame is an error', t => {
  for (const header of samples) {
    for (const body of bodies) {
      const bytes = encodeFrame(header, body)
      for (let length = 0; length < bytes.length; length += 1) {
        const decoded = decodeFrame(bytes.subarray(0, length))
        t.true(isLeft(decoded) && decoded.left.type === 'corrupt')
      }
    }
  }
})

test('F2: bytes after the end of a frame are an error', t => {
  for (const header of samples) {
    const bytes = encodeFrame(header, Uint8Array.of(1))
    t.true(isLeft(decodeFrame(Uint8Array.of(...bytes, 0))))
  }
})

test('F2: a frame of an unknown version is an error that names both versions', t => {
  const bytes = encodeFrame({ type: 'end', generation: 1, number: 1 }, new Uint8Array(0))
  bytes[1] = 1
  const decoded = decodeFrame(bytes)
  t.true(isLeft(decoded))
  if (isLeft(decoded)) {
    t.is(decoded.left.message, 'A frame has version 1; this process reads version 2.')
    t.is(decoded.left.next, 'Run every process of the job with the same version of sluice.')
  }
})

test('F2: unknown magic, type, flags and numbers beyond 53 bits are errors', t => {
  const barrier = { type: 'barrier', generation: 1, number: 1, epoch: 1, triggeredAt: 1 } as const
  for (const [at, value] of [
    [0, 0],
    [2, 0],
    [2, 4],
    [3, 2],
    [8, 0x20],
    [9, 0x20],
    [20, 1],
    [28, 1],
  ] as const) {
    const bytes = encodeFrame({ ...barrier, final: true }, new Uint8Array(0))
    t.true(isRight(decodeFrame(bytes)))
    bytes[at] = value
    t.true(isLeft(decodeFrame(bytes)), `byte ${at} = ${value}`)
  }
})

test('F2: no input makes decoding throw', t => {
  const random = prng(seedFromEnvironment())
  t.log(`seed ${random.seed}`)
  let valid = 0
  for (let round = 0; round < 20_000; round += 1) {
    const sample = samples[random.below(samples.length)]
    if (sample === undefined) return t.fail()
    const bytes = random.chance(0.3)
      ? randomBytes(random, random.below(60))
      : encodeFrame(sample, randomBytes(random, random.below(20)))
    for (let flips = random.below(3); flips > 0 && bytes.length > 0; flips -= 1) {
      bytes[random.below(bytes.length)] = random.below(256)
    }
    const input = bytes.subarray(0, random.chance(0.2) ? random.below(70) : undefined)
    const decoded = decodeFrame(input)
    if (isRight(decoded)) {
      valid += 1
      // Whatever is accepted is a frame, one that was cut and says so, too: written again it is the same.
      t.deepEqual(encodeFrame(decoded.right.header, decoded.right.body), input)
    }
  }
  t.true(valid > 1_000 && valid < 19_000)
})

test('F3: a decoded body is a view of its input, also inside a larger buffer', t => {
  const header = { type: 'data', generation: 1, number: 1, firstRecord: 1, records: 1 } as const
  const frame = encodeFrame(header, Uint8Array.of(7, 8, 9))
  const larger = new Uint8Array(100)
  larger.set(frame, 13)
  const decoded = decodeFrame(larger.subarray(13, 13 + frame.length))
  t.true(isRight(decoded))
  if (isRight(decoded)) {
    t.is(decoded.right.body.buffer, larger.buffer)
    t.is(decoded.right.body.byteOffset, 13 + frameHeaderBytes.data)
    t.deepEqual([...decoded.right.body], [7, 8, 9])
  }
})
