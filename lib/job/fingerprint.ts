/**
 * The fingerprint of a job graph: equal for equal graphs, whatever process computes it.
 *
 * It tells apart graphs whose checkpoints or whose processes do not fit together. It covers ids,
 * types, parallelism, edges, the names of codecs (io-ts spells out their structure), versions of
 * state and the number of key groups. It leaves out functions, whose text says nothing about what
 * they do, and settings that a restart may change: checkpointing, limits, durability. The order in
 * which pipelines were written does not matter either.
 */
import type { Edge, JobGraph, Vertex } from './graph.js'

/** 16 hexadecimal digits that depend on a graph's shape. No protection against forgery. */
export const fingerprintOf = (graph: JobGraph): string =>
  hash64(
    JSON.stringify({
      maxParallelism: graph.maxParallelism,
      vertices: graph.vertices.map(vertexFacts).sort(),
      edges: graph.edges.map(edgeFacts).sort(),
    }),
  )

// As text, so that sorting compares code units and not what a locale makes of them.
const vertexFacts = (vertex: Vertex): string =>
  JSON.stringify([vertex.type, vertex.id, vertex.parallelism, ...definitionFacts(vertex)])

const definitionFacts = (vertex: Vertex): readonly unknown[] => {
  switch (vertex.type) {
    case 'source':
      return vertex.source.type === 'jetstream-source'
        ? [vertex.source.type, vertex.source.accepts.name]
        : [vertex.source.type]
    case 'sink':
      // Their snapshots differ; the default is left out, as it was before there was a choice.
      return [
        vertex.sink.type,
        vertex.codec?.name ?? null,
        ...(vertex.sink.delivery === 'idempotent' ? [vertex.sink.delivery] : []),
      ]
    case 'operator': {
      const { name, accepts, emits, state } = vertex.actor
      const kept = state === undefined ? null : [state.codec.name, state.version ?? 1]
      return [name, accepts.name, emits.name, kept]
    }
  }
}

const edgeFacts = (edge: Edge): string => JSON.stringify([edge.type, edge.from, edge.to])

/** FNV-1a over UTF-8, 64 bits. */
const hash64 = (text: string): string => {
  let hash = 0xcbf29ce484222325n
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  }
  return hash.toString(16).padStart(16, '0')
}
