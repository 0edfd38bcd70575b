import test from 'ava'
import { describe, problemText, quote } from '../../lib/job/problem.js'

test('a quoted text holds no character that a terminal acts on', t => {
  for (let code = 0; code < 0x10000; code += 1) {
    const quoted = quote(String.fromCharCode(code))
    t.false(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Surrogate}]/u.test(quoted), code.toString(16))
    t.is(JSON.parse(quoted), String.fromCharCode(code))
  }
})

test('a long text is cut and its length told', t => {
  t.is(quote('x'.repeat(80)), `"${'x'.repeat(80)}"`)
  t.is(quote('x'.repeat(81)), `"${'x'.repeat(80)}"… (81 characters)`)
})

test('every kind of value has a description', t => {
  const described = [
    undefined,
    null,
    true,
    -0,
    1.5,
    Number.NaN,
    7n,
    'a',
    [],
    {},
    () => 0,
    Symbol('x'),
  ]
  t.deepEqual(described.map(describe), [
    'nothing',
    'null',
    'true',
    '0',
    '1.5',
    'NaN',
    '7n',
    '"a"',
    'an array',
    'an object',
    'a function',
    'Symbol(x)',
  ])
  t.is(describe({ type: 'actor' }), 'an object of type "actor"')
})

test('a problem reads as one line', t => {
  t.is(
    problemText({ path: 'a.b', expected: 'one', found: 'two', next: 'Make it one.' }),
    'a.b: expected one, found two. Make it one.',
  )
})
