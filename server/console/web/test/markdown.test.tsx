import type { VNode } from 'preact'
import { describe, expect, it } from 'vitest'
import { inline, parse, safeHref, type Block, type Inline } from '../src/markdown'

// flat writes a tree in one line, for tables of tests.
const flat = (n: Inline | Block): string => {
  switch (n.t) {
    case 'text': return n.text
    case 'code': return `<code>${n.text}</code>`
    case 'br': return '<br>'
    case 'link': return `<a ${n.href}>${n.kids.map(flat).join('')}</a>`
    case 'strong': case 'em': case 'del': return `<${n.t}>${n.kids.map(flat).join('')}</${n.t}>`
    case 'heading': return `<h${n.level}>${n.kids.map(flat).join('')}</h${n.level}>`
    case 'para': return `<p>${n.kids.map(flat).join('')}</p>`
    case 'rule': return '<hr>'
    case 'quote': return `<quote>${n.kids.map(flat).join('')}</quote>`
    case 'list': return `<${n.ordered ? 'ol ' + n.start : 'ul'}>${n.items.map((i) => `<li${i.checked === null ? '' : i.checked ? ' x' : ' o'}>${i.kids.map(flat).join('')}</li>`).join('')}</>`
    case 'table': return `<table ${n.align.join(',')}>${[n.head, ...n.rows].map((r) => r.map((c) => c.map(flat).join('')).join('|')).join('/')}</table>`
  }
}
const text = (source: string): string => parse(source).map(flat).join('')
const line = (source: string): string => inline(source).map(flat).join('')

describe('blocks', () => {
  it.each([
    ['# One\ntext\n## Two ##', '<h1>One</h1><p>text</p><h2>Two</h2>'],
    ['a\nb\n\nc', '<p>a\nb</p><p>c</p>'],
    ['---\nowner: x\n---\n# T', '<h1>T</h1>'],
    ['- a\n- b\n  - c\n- d', '<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li></></li><li><p>d</p></li></>'],
    ['3. a\n4. b', '<ol 3><li><p>a</p></li><li><p>b</p></li></>'],
    ['1. a\n\n   ```\n   x\n   ```\n2. b', '<ol 1><li><p>a</p><code>x</code></li><li><p>b</p></li></>'],
    ['- [x] done\n- [ ] not', '<ul><li x><p>done</p></li><li o><p>not</p></li></>'],
    ['```go\nif a < b {}\n```\nafter', '<code>if a < b {}</code><p>after</p>'],
    ['~~~\nopen to the end', '<code>open to the end</code>'],
    ['> a\n> b\n\nc', '<quote><p>a\nb</p></quote><p>c</p>'],
    ['a\n\n---\n\nb', '<p>a</p><hr><p>b</p>'],
    ['| a | b |\n|---|--:|\n| 1 | `x|y` |\n| 2 |\n\nz', '<table left,right>a|b/1|<code>x|y</code>/2|</table><p>z</p>'],
    ['text\n- list', '<p>text</p><ul><li><p>list</p></li></>'],
    ['In 2026. it was', '<p>In 2026. it was</p>'],
    ['<!-- hidden -->\nshown', '<p>shown</p>'],
    ['', ''],
  ])('%j', (source, want) => expect(text(source)).toBe(want))
})

describe('inline', () => {
  it.each([
    ['**b** and *i* and ~~d~~', '<strong>b</strong> and <em>i</em> and <del>d</del>'],
    ['__b__ _i_ snake_case_name', '<strong>b</strong> <em>i</em> snake_case_name'],
    ['2 * 3 * 4', '2 * 3 * 4'],
    ['**open', '**open'],
    ['**a *b* c**', '<strong>a <em>b</em> c</strong>'],
    ['`a*b*` and ``x`y``', '<code>a*b*</code> and <code>x`y</code>'],
    ['\\*not\\* \\<', '*not* <'],
    ['[t](https://x.y/z "title")', '<a https://x.y/z>t</a>'],
    ['[t](/traces/1)', '<a /traces/1>t</a>'],
    ['![img](https://x.y/i.png)', '<a https://x.y/i.png>img</a>'],
    ['see https://x.y/a?b=1.', 'see <a https://x.y/a?b=1>https://x.y/a?b=1</a>.'],
    ['见 https://x.y/a。好', '见 <a https://x.y/a>https://x.y/a</a>。好'],
    ['<https://x.y>', '<a https://x.y>https://x.y</a>'],
    ['trace 4bf92f3577b34da6a3ce929d0e0e4736!', 'trace <a /traces/4bf92f3577b34da6a3ce929d0e0e4736><code>4bf92f3577b34da6a3ce929d0e0e4736</code></a>!'],
    ['`4bf92f3577b34da6a3ce929d0e0e4736`', '<a /traces/4bf92f3577b34da6a3ce929d0e0e4736><code>4bf92f3577b34da6a3ce929d0e0e4736</code></a>'],
    ['4bf92f3577b34da6a3ce929d0e0e47361', '4bf92f3577b34da6a3ce929d0e0e47361'],
  ])('%j', (source, want) => expect(line(source)).toBe(want))
})

describe('hostile input', () => {
  it.each([
    ['<script>alert(1)</script>', '<p><script>alert(1)</script></p>'],
    ['[x](javascript:alert(1))', '<p>x (javascript:alert(1))</p>'],
    ['[x](JaVaScRiPt:alert(1))', '<p>x (JaVaScRiPt:alert(1))</p>'],
    ['[x](data:text/html,hi)', '<p>x (data:text/html,hi)</p>'],
    ['[x](//evil.example)', '<p>x (//evil.example)</p>'],
  ])('%j stays text', (source, want) => expect(text(source)).toBe(want))
  it.each([
    ['https://a.b', true], ['http://a.b', true], ['mailto:a@b', true], ['/x', true], ['#x', true],
    ['javascript:x', false], ['java\nscript:x', false], ['\u0001javascript:x', false], ['vbscript:x', false], ['//x', false], ['/\\x', false], ['\\\\x', false], ['file:///etc', false], ['relative', false], ['', false],
  ])('safeHref(%j) is %s', (url, ok) => expect(safeHref(url) !== null).toBe(ok))
  it.each([
    ['openers', '*'.repeat(50_000)], ['brackets', '['.repeat(50_000)], ['ticks', '` `` '.repeat(20_000)], ['quotes', '> '.repeat(20_000)],
    ['stars and words', '**a '.repeat(15_000)], ['nested lists', Array.from({ length: 2000 }, (_, i) => ' '.repeat(i * 2) + '- x').join('\n')],
    ['pipes', '|'.repeat(30_000) + '\n' + '|-'.repeat(30_000)], ['links', '[a](b'.repeat(20_000)], ['dashes', '- '.repeat(30_000)], ['emphasis', '_a*b'.repeat(4_000)],
  ])('does not hang on many %s', (_name, source) => {
    const began = performance.now()
    parse(source)
    expect(performance.now() - began).toBeLessThan(1500)
  })
  it('loses no text to odd nesting', () => {
    const odd = '**a _b** c_ [d](e `f'
    expect(line(odd).replace(/<\/?\w+>/g, '').replace(/[*_`]/g, '')).toContain('a b c')
  })
})

describe('drawing', () => {
  it('draws text as text and opens outside links apart', async () => {
    const { Markdown } = await import('../src/parts/markdown')
    const { render } = await import('preact-render-to-string')
    const html = render(<Markdown source={'# T <b>\n\n[in](/incidents/1) [out](https://x.y)\n\n- [x] ok'} /> as VNode)
    expect(html).toContain('<h3>T &lt;b></h3>')
    expect(html).toContain('<a href="/incidents/1">in</a>')
    expect(html).toContain('<a href="https://x.y" target="_blank" rel="noopener noreferrer">out</a>')
  })
})
