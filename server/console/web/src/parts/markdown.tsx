// Draws the tree of markdown.ts. Text stays text: nothing here writes HTML.
import type { ComponentChildren, JSX } from 'preact'
import { useMemo } from 'preact/hooks'
import { parse, type Align, type Block, type Inline } from '../markdown'

// shift moves headings below the page's own, so that the outline stays true.
export function Markdown({ source, shift = 2 }: { source: string; shift?: number }) {
  const tree = useMemo(() => parse(source), [source])
  return <div class="md">{tree.map((b, i) => block(b, i, shift))}</div>
}

const spans = (kids: Inline[]): ComponentChildren => kids.map(one)

function one(n: Inline, i: number): ComponentChildren {
  switch (n.t) {
    case 'text':
      return n.text
    case 'code':
      return <code key={i}>{n.text}</code>
    case 'br':
      return <br key={i} />
    case 'link': {
      const outside = /^[a-z]+:/i.test(n.href)
      return <a key={i} href={n.href} {...(outside ? { target: '_blank', rel: 'noopener noreferrer' } : {})}>{spans(n.kids)}</a>
    }
    default: {
      const As = n.t
      return <As key={i}>{spans(n.kids)}</As>
    }
  }
}

const cell = (a: Align | undefined): string => (a === 'right' ? 'num' : a === 'center' ? 'mid' : '')

function block(b: Block, i: number, shift: number): JSX.Element {
  switch (b.t) {
    case 'heading': {
      const As = `h${Math.min(6, b.level + shift)}` as 'h3'
      return <As key={i}>{spans(b.kids)}</As>
    }
    case 'para':
      return <p key={i}>{spans(b.kids)}</p>
    case 'code':
      return <pre key={i} tabIndex={0}><code>{b.text}</code></pre>
    case 'rule':
      return <hr key={i} />
    case 'quote':
      return <blockquote key={i}>{b.kids.map((k, n) => block(k, n, shift))}</blockquote>
    case 'list': {
      const items = b.items.map((item, n) => (
        <li key={n} class={item.checked === null ? undefined : 'check'}>
          {item.checked !== null && <input type="checkbox" checked={item.checked} disabled aria-label={item.checked ? '✓' : '○'} />}
          {item.kids.map((k, m) => (k.t === 'para' ? <span key={m} class="line">{spans(k.kids)}</span> : block(k, m, shift)))}
        </li>
      ))
      return b.ordered ? <ol key={i} start={b.start}>{items}</ol> : <ul key={i}>{items}</ul>
    }
    case 'table':
      return (
        <div key={i} class="scroll" tabIndex={0}>
          <table>
            <thead><tr>{b.head.map((c, n) => <th key={n} scope="col" class={cell(b.align[n])}>{spans(c)}</th>)}</tr></thead>
            <tbody>{b.rows.map((r, n) => <tr key={n}>{r.map((c, m) => <td key={m} class={cell(b.align[m])}>{spans(c)}</td>)}</tr>)}</tbody>
          </table>
        </div>
      )
  }
}
