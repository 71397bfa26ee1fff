// The SVG of the topology: edges below, nodes above.
import { ms, rate, share } from '../format'
import { useT } from '../i18n'
import { curve, edgeKey, nodeHeight, nodeWidth, type Picture } from '../layout'
import type { Edge, Node } from '../types'
import { StateIcon } from './basic'

export interface View {
  x: number
  y: number
  k: number
}

// fit shortens a name to a width in pixels, given how wide a text is.
export function fit(name: string, room: number, width: (s: string) => number): string {
  if (width(name) <= room) return name
  const chars = [...name] // whole characters, never half of a pair
  let low = 0
  let high = chars.length
  while (low < high) {
    const mid = (low + high + 1) >> 1
    if (width(chars.slice(0, mid).join('') + '…') <= room) low = mid
    else high = mid - 1
  }
  return chars.slice(0, low).join('') + '…'
}

const sans = 'system-ui, -apple-system, "Segoe UI", Roboto, "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif'
let pen: CanvasRenderingContext2D | null | undefined
const widths = new Map<string, number>()

// width measures a text as the picture sets it: a title, or an amount.
function width(text: string, font: 'title' | 'amount'): number {
  const key = font + text
  const known = widths.get(key)
  if (known !== undefined) return known
  if (pen === undefined) pen = document.createElement('canvas').getContext('2d')
  if (!pen) return text.length * 8
  pen.font = (font === 'title' ? '600 13px ' : '700 11px ') + sans
  const w = pen.measureText(text).width
  if (widths.size > 5000) widths.clear() // amounts change every second
  widths.set(key, w)
  return w
}
const titleWidth = (s: string): number => width(s, 'title')

export function Drawing({ nodes, edges, picture, view, lit, near, gone, focus, onHover, onFocus, onOpen }: {
  nodes: Node[]
  edges: Edge[]
  picture: Picture
  view: View
  lit: ReadonlySet<string> | null
  near: string
  gone: ReadonlySet<string>
  focus: string
  onHover: (name: string) => void
  onFocus: (name: string) => void
  onOpen: (name: string) => void
}) {
  const t = useT()
  const dim = (a: string, b = a): string => (lit === null ? '' : near !== '' && a !== b ? (a === near || b === near ? '' : ' dim') : lit.has(a) && lit.has(b) ? '' : ' dim')
  const firstFocus = focus !== '' && picture.nodes.has(focus) ? focus : (nodes[0]?.name ?? '')
  return (
    <>
      <defs>
        {(['ok', 'warn', 'bad', 'idle'] as const).map((s) => (
          <marker key={s} id={`arrow-${s}`} viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">
            <path class={`head head-${s}`} d="M0,0.5L8,4L0,7.5Z" />
          </marker>
        ))}
      </defs>
      <g transform={`translate(${view.x},${view.y}) scale(${view.k})`}>
        {edges.map((e) => {
          const d = picture.edges.get(edgeKey(e.from, e.to))
          if (!d) return null
          const text = e.rate > 0 ? rate(e.rate) + (e.errorShare > 0 ? ' · ' + t.topology.errorsOf(share(e.errorShare)) : '') : t.state.idle
          const w = width(text, 'amount') + 12
          const say = t.topology.edgeLabel(e.from, e.to, e.strong ? t.topology.strongShort : t.topology.weakShort, rate(e.rate), share(e.errorShare))
          return (
            <g key={edgeKey(e.from, e.to)} class={`edge edge-${e.state}${e.strong ? ' strong' : ''}${dim(e.from, e.to)}`}>
              <title>{say}</title>
              <path class="wire" d={curve(d.points)} marker-end={`url(#arrow-${e.state})`} />
              <rect class="plate" x={d.label.x - w / 2} y={d.label.y - 9} width={w} height="18" rx="4" />
              <text class="amount" x={d.label.x} y={d.label.y + 4} text-anchor="middle">{text}</text>
            </g>
          )
        })}
        {nodes.map((n) => {
          const at = picture.nodes.get(n.name)
          if (!at) return null
          const away = gone.has(n.name)
          const say = t.topology.nodeLabel(n.name, t.kind[n.kind], away ? t.topology.gone : t.state[n.state], rate(n.rate), share(n.errorShare), ms(n.p99Ms))
          return (
            <g
              key={n.name}
              class={`node node-${n.state} kind-${n.kind}${dim(n.name)}${away ? ' gone' : ''}`}
              transform={`translate(${at.x - nodeWidth / 2},${at.y - nodeHeight / 2})`}
              tabIndex={n.name === firstFocus ? 0 : -1}
              role="link"
              aria-label={say}
              data-node={n.name}
              onClick={() => onOpen(n.name)}
              onFocus={() => onFocus(n.name)}
              onMouseEnter={() => onHover(n.name)}
              onMouseLeave={() => onHover('')}
            >
              <title>{say}</title>
              <rect class="ring" x="-4" y="-4" width={nodeWidth + 8} height={nodeHeight + 8} rx="11" />
              <rect class="box" width={nodeWidth} height={nodeHeight} rx="8" />
              <rect class="stripe" x="0" y="8" width="4" height={nodeHeight - 16} rx="2" />
              <StateIcon state={n.state} x={13} y={11} size={15} />
              <svg x="34" y="6" width={nodeWidth - 40} height="24"><text class="title" y="17">{fit(n.name, nodeWidth - 44, titleWidth)}</text></svg>
              {n.kind !== 'service' && <text class="kind" x={nodeWidth - 10} y="56" text-anchor="end">{t.kind[n.kind]}</text>}
              {away || n.rate <= 0 ? (
                <text class="facts" x="14" y="44">{away ? t.topology.gone : t.state.idle}</text>
              ) : (
                <>
                  <text class="facts" x="14" y="41">
                    <tspan>{rate(n.rate)}</tspan>
                    <tspan class={n.errorShare > 0 ? 'fault' : ''} dx="8">{t.topology.errorsOf(share(n.errorShare))}</tspan>
                  </text>
                  <text class="facts" x="14" y="56">
                    <tspan>p99 {ms(n.p99Ms)}</tspan>
                    {n.versions.length > 1 && <tspan dx="8">{fit(n.versions.map((v) => v.version).join(' '), 84, (s) => width(s, 'amount'))}</tspan>}
                  </text>
                </>
              )}
            </g>
          )
        })}
      </g>
    </>
  )
}
