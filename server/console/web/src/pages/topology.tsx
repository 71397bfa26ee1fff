// The graph of who calls whom, live. The picture holds still between updates;
// only numbers and states change.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { api } from '../api'
import { useT } from '../i18n'
import { blank, edgeKey, nearest, recall, stay, type Memory, type Picture } from '../layout'
import { live } from '../live'
import { Card, Empty, Fence, Loading, StateIcon } from '../parts/basic'
import { Drawing, type View } from '../parts/drawing'
import { EdgeTable } from '../parts/edges'
import { NoTelemetry } from '../parts/notelemetry'
import { go, href } from '../router'
import { recall as setting, remember, useStore } from '../store'
import type { Edge, Node } from '../types'
import { useTitle } from '../use'

// What was seen lately outlives a visit to another page.
let memory: Memory = blank()
let picture: Picture | null = null

export default function Topology() {
  const t = useT()
  const { topology, link } = useStore(live)
  const [mode, choose] = useState(setting('topology') === 'table' ? 'table' : 'graph')
  const [find, search] = useState('')
  useTitle(t.nav.topology)

  const now = useMemo(() => {
    if (topology !== null) memory = recall(memory, topology, Date.now())
    const nodes = [...memory.nodes.values()].map((n) => n.node)
    const edges = [...memory.edges.values()].map((e) => e.edge)
    picture = stay(picture, nodes.map((n) => n.name), edges)
    return { nodes, edges, picture, gone: new Set([...memory.nodes].filter(([name]) => !topology?.nodes.some((n) => n.name === name)).map(([name]) => name)) }
  }, [topology])

  const switchTo = (m: 'graph' | 'table'): void => {
    choose(m)
    remember('topology', m)
  }
  const body = (): preact.JSX.Element => {
    if (topology === null) return <Loading />
    if (now.nodes.length === 0) return <NoTelemetry />
    if (mode === 'table') return <Tables nodes={now.nodes} edges={now.edges} />
    return (
      <>
        {now.edges.length === 0 && <Empty>{t.empty.edges}</Empty>}
        <Graph {...now} find={find} stale={link === 'stale'} />
      </>
    )
  }
  return (
    <div class="fill">
      <div class="bar">
        <h1>{t.topology.title}</h1>
        <span class="muted small">{t.topology.counts(now.nodes.length, now.edges.length)}</span>
        <span class="actions">
          {mode === 'graph' && <input type="search" placeholder={t.topology.find} aria-label={t.topology.find} value={find} onInput={(e) => search(e.currentTarget.value)} />}
          <span class="segments" role="group" aria-label={t.topology.title}>
            <button type="button" aria-pressed={mode === 'graph'} onClick={() => switchTo('graph')}>{t.topology.picture}</button>
            <button type="button" aria-pressed={mode === 'table'} onClick={() => switchTo('table')}>{t.topology.table}</button>
          </span>
          <a class="button" href={api.topologyFile('mermaid')} target="_blank" rel="noopener">Mermaid</a>
          <a class="button" href={api.topologyFile('dot')} target="_blank" rel="noopener">DOT</a>
        </span>
      </div>
      <Fence note={t.trouble.broken}>{body()}</Fence>
    </div>
  )
}

const most = 2.5
const least = 0.15

function Graph({ nodes, edges, picture: p, gone, find, stale }: { nodes: Node[]; edges: Edge[]; picture: Picture; gone: ReadonlySet<string>; find: string; stale: boolean }) {
  const t = useT()
  const svg = useRef<SVGSVGElement>(null)
  const [view, look] = useState<View>({ x: 0, y: 0, k: 1 })
  const [near, hover] = useState('')
  const [focus, setFocus] = useState('')
  const moved = useRef(false)

  const fit = (): void => {
    const box = svg.current?.getBoundingClientRect()
    if (!box || box.width === 0) return
    const k = Math.max(least, Math.min(1.15, box.width / p.width, box.height / p.height))
    look({ k, x: (box.width - p.width * k) / 2, y: (box.height - p.height * k) / 2 })
    moved.current = false
  }
  useEffect(fit, [p.key])
  useEffect(() => {
    const el = svg.current
    if (!el) return
    const watch = new ResizeObserver(() => !moved.current && fit())
    watch.observe(el)
    const wheel = (e: WheelEvent): void => {
      e.preventDefault()
      const box = el.getBoundingClientRect()
      zoom(Math.exp(-e.deltaY * (e.ctrlKey ? 0.01 : 0.0015)), e.clientX - box.left, e.clientY - box.top)
    }
    el.addEventListener('wheel', wheel, { passive: false })
    return () => {
      watch.disconnect()
      el.removeEventListener('wheel', wheel)
    }
  }, [p.key])

  const zoom = (by: number, cx?: number, cy?: number): void => {
    const box = svg.current?.getBoundingClientRect()
    const x = cx ?? (box?.width ?? 0) / 2
    const y = cy ?? (box?.height ?? 0) / 2
    moved.current = true
    look((v) => {
      const k = Math.max(least, Math.min(most, v.k * by))
      return { k, x: x - ((x - v.x) * k) / v.k, y: y - ((y - v.y) * k) / v.k }
    })
  }
  const pan = (dx: number, dy: number): void => {
    moved.current = true
    look((v) => ({ ...v, x: v.x + dx, y: v.y + dy }))
  }
  const center = (name: string): void => {
    const at = p.nodes.get(name)
    const box = svg.current?.getBoundingClientRect()
    if (!at || !box) return
    moved.current = true
    look((v) => ({ ...v, x: box.width / 2 - at.x * v.k, y: box.height / 2 - at.y * v.k }))
  }

  const drag = useRef<{ x: number; y: number; far: boolean } | null>(null)
  const open = (name: string): void => {
    if (drag.current?.far) return
    go(href.service(name))
  }
  const keys = (e: KeyboardEvent): void => {
    const ways: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
    const way = ways[e.key]
    if (way) {
      e.preventDefault()
      const next = nearest(p, focus, way[0], way[1])
      setFocus(next)
      svg.current?.querySelector<SVGGElement>(`[data-node="${CSS.escape(next)}"]`)?.focus()
    } else if (e.key === '+' || e.key === '=') zoom(1.25)
    else if (e.key === '-') zoom(0.8)
    else if (e.key === '0') fit()
    else if ((e.key === 'Enter' || e.key === ' ') && focus !== '') {
      e.preventDefault()
      go(href.service(focus))
    }
  }

  const wanted = find.trim().toLowerCase()
  const found = useMemo(() => (wanted === '' ? null : new Set(nodes.filter((n) => n.name.toLowerCase().includes(wanted)).map((n) => n.name))), [nodes, wanted])
  useEffect(() => {
    const first = found && [...found][0]
    if (first !== undefined && first !== null) center(first)
  }, [wanted])

  const lit = useMemo(() => {
    if (found !== null) return found
    if (near === '') return null
    const set = new Set([near])
    for (const e of edges) {
      if (e.from === near) set.add(e.to)
      if (e.to === near) set.add(e.from)
    }
    return set
  }, [found, near, edges])

  return (
    <div class="graph">
      <svg
        ref={svg}
        class={'canvas' + (stale ? ' stale' : '')}
        role="group"
        aria-label={t.topology.graph}
        aria-describedby="graph-help"
        onKeyDown={keys}
        onPointerDown={(e) => {
          if (e.button !== 0) return
          drag.current = { x: e.clientX, y: e.clientY, far: false }
        }}
        onPointerMove={(e) => {
          const d = drag.current
          if (!d || e.buttons === 0) return
          const dx = e.clientX - d.x
          const dy = e.clientY - d.y
          if (!d.far && Math.hypot(dx, dy) < 4) return
          if (!d.far) e.currentTarget.setPointerCapture(e.pointerId)
          drag.current = { x: e.clientX, y: e.clientY, far: true }
          pan(dx, dy)
        }}
        onPointerUp={() => {
          const was = drag.current
          setTimeout(() => drag.current === was && (drag.current = null)) // after the click that follows
        }}
      >
        <Drawing nodes={nodes} edges={edges} picture={p} view={view} lit={lit} near={near} gone={gone} focus={focus} onHover={hover} onFocus={setFocus} onOpen={open} />
      </svg>
      <div class="zoom" role="group" aria-label={t.topology.zoomIn + ' / ' + t.topology.zoomOut}>
        <button type="button" aria-label={t.topology.zoomIn} title={t.topology.zoomIn} onClick={() => zoom(1.25)}>+</button>
        <button type="button" aria-label={t.topology.zoomOut} title={t.topology.zoomOut} onClick={() => zoom(0.8)}>−</button>
        <button type="button" aria-label={t.topology.fit} title={t.topology.fit} onClick={fit}>⤢</button>
      </div>
      <Legend />
      <p id="graph-help" class="hint help">{t.topology.help}</p>
    </div>
  )
}

function Legend() {
  const t = useT()
  return (
    <ul class="legend" aria-label={t.topology.legend}>
      {(['ok', 'warn', 'bad', 'idle'] as const).map((s) => <li key={s}><StateIcon state={s} /> {t.state[s]}</li>)}
      <li><svg width="30" height="8" aria-hidden="true"><path d="M1,4H29" class="leg-strong" /></svg> {t.topology.strong}</li>
      <li><svg width="30" height="8" aria-hidden="true"><path d="M1,4H29" class="leg-weak" /></svg> {t.topology.weak}</li>
      <li><svg width="22" height="14" aria-hidden="true"><rect x="1" y="1" width="20" height="12" rx="3" class="leg-outside" /></svg> {t.topology.external}</li>
    </ul>
  )
}

function Tables({ nodes, edges }: { nodes: Node[]; edges: Edge[] }) {
  const kind = new Map(nodes.map((n) => [n.name, n.kind]))
  const sorted = [...edges].sort((a, b) => (edgeKey(a.from, a.to) < edgeKey(b.from, b.to) ? -1 : 1))
  return (
    <Card flush>
      <EdgeTable edges={sorted} kinds={kind} />
    </Card>
  )
}
