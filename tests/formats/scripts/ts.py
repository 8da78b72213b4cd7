import guard, json
from guard.schemas.structural.compiled import CompiledFormat
from guard.schemas.compiled import Options
V=guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b""], eos=[256])
t={"format":{"type":"triggered_tags","triggers":["<f="],"tags":[{"begin":"<f=a>","content":{"type":"json_schema","json_schema":{"type":"object","properties":{"x":{"type":"integer"}}}},"end":"</f>"},{"begin":"<f=n>","content":{"type":"json_schema","json_schema":{"type":"integer"}},"end":"</f>"}]}}
c=CompiledFormat(t,Options())
m=c.matcher(V)
s='Hi there <f=a>{"x": 3}</f> and <f=n>42</f><f=a>{}</f> bye'
print(m.accept_bytes(s.encode()), m.can_stop())
for k,w,a,b in m.spans(): print(['arc','value','symbol'][k],w,repr(s[a:b]))
