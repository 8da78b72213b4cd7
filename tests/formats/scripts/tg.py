"""generated formats against the twin: reading, masks, symbols"""
import sys,json,random,time,collections
sys.path.insert(0,'/work/wt/fmt/tests/formats')
import numpy as np, guard, twin, jsonschema_rs
from guard.kernels import allocate_bitmask
from guard.schemas.structural.compiled import CompiledFormat
from guard.schemas.compiled import Options
rnd=random.Random(int(sys.argv[1]))
opts=Options(key_order="any",whitespace="any",spelling="any")
A='ab<>'
def word(n=3,m=0): return ''.join(rnd.choice(A) for _ in range(rnd.randint(m,n)))
SCH=[{"type":"integer"},{"type":"object","properties":{"a":{"enum":[1,"b"]}},"required":["a"],"additionalProperties":False},{"enum":["ab","<a"]},{"type":"array","items":{"type":"boolean"},"maxItems":2},{"const":None}]
def form(d):
    k=rnd.choice(['lit','lit','any','regex','json','json'] if d<=0 else ['lit','any','regex','json','seq','or','opt','star','plus','rep','tag','tag','sep','trig','disp'])
    if k=='lit': return {"type":"const_string","value":word(3,0 if d<2 else 1)}
    if k=='any': return {"type":"any_text",**({"excludes":[word(2,1)]} if rnd.random()<.5 else {})}
    if k=='regex': return {"type":"regex","pattern":rnd.choice(["a+","(ab|b)*","[ab]{1,2}","a?b"])}
    if k=='json': return {"type":"json_schema","json_schema":rnd.choice(SCH)}
    if k=='seq': return {"type":"sequence","elements":[form(d-1) for _ in range(rnd.randint(1,3))]}
    if k=='or': return {"type":"or","elements":[form(d-1) for _ in range(rnd.randint(1,3))]}
    if k in('opt','star','plus'): return {"type":{'opt':'optional'}.get(k,k),"content":form(d-1)}
    if k=='rep':
        m=rnd.randint(0,2); return {"type":"repeat","min":m,"max":rnd.choice([-1,m,m+1]),"content":form(d-1)}
    def tag(): return {"type":"tag","begin":word(3,1),"content":form(d-1),"end":rnd.choice([word(2,1),word(2,1),[word(2,1),word(3,1)],""])}
    if k=='tag': return tag()
    if k=='sep': return {"type":"tags_with_separator","tags":[tag() for _ in range(rnd.randint(1,2))],"separator":word(2,0),"at_least_one":rnd.random()<.5,"stop_after_first":rnd.random()<.3}
    if k=='disp': return {"type":"dispatch","rules":[[word(2,1),form(d-1)] for _ in range(rnd.randint(1,2))],"loop":rnd.random()<.6,**({"excludes":[word(2,1)]} if rnd.random()<.3 else {})}
    trig=[word(2,1) for _ in range(rnd.randint(1,2))]
    tags=[{**tag(),"begin":rnd.choice(trig)+word(2,0)} for _ in range(rnd.randint(1,2))]
    return {"type":"triggered_tags","triggers":trig,"tags":tags,"at_least_one":rnd.random()<.4,"stop_after_first":rnd.random()<.4,**({"excludes":[word(2,1)]} if rnd.random()<.3 else {})}
def valid(s,v): return jsonschema_rs.Draft202012Validator(s).is_valid(v)
pieces=['a','b','<','>','1','-','0','true','null','"ab"','"<a"','{"a":1}','{"a":"b"}','[true]','[]','{','"',' ']
V=guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b""], eos=[256])
n=0;bad=0;errs=collections.Counter(); acc=0
end=time.time()+float(sys.argv[2])
while time.time()<end:
    f={"type":"structural_tag","format":form(3)}
    try: c=CompiledFormat(f,opts)
    except guard.SchemaError as e:
        errs[str(e)[:60]]+=1
        if 'search' in str(e): print('SLOW',json.dumps(f))
        continue
    texts={''}
    m=c.matcher(V)
    # random walks through the automaton with pieces
    for _ in range(10):
        t=''
        for _ in range(rnd.randint(0,8)):
            t+=rnd.choice(pieces)
            texts.add(t)
    for _ in range(6):  # guided
        m=c.matcher(V); t=b''
        for _ in range(12):
            ps=[p for p in pieces if m.copy().accept_bytes(p.encode())]
            if not ps: break
            p=rnd.choice(ps); m.accept_bytes(p.encode()); t+=p.encode(); texts.add(t.decode())
    for t in texts:
        m=c.matcher(V)
        try:
            a=m.accept_bytes(t.encode()) and m.can_stop()
            b=twin.accepts(f,t,valid)
        except Exception as e: errs[f'{type(e).__name__} {e}'[:60]]+=1; continue
        n+=1; acc+=b
        if a!=b:
            bad+=1
            if bad<=int(sys.argv[3]): print('engine',a,'twin',b,json.dumps(f['format']),repr(t))
print('verdicts',n,'accepted',acc,'bad',bad,errs.most_common(5))
