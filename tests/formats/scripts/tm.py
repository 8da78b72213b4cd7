import sys,gzip,json,collections,time,random
import numpy as np
import guard
from guard.kernels import allocate_bitmask
from guard.schemas.structural.compiled import CompiledFormat
from guard.schemas.compiled import Options
rnd=random.Random(int(sys.argv[1]))
opts=Options(key_order="schema",whitespace="spaced",spelling="canonical")
cases={}
for l in gzip.open('/work/shared/data/structural-tags.jsonl.gz','rt'):
    o=json.loads(l)
    if 'style' in json.dumps(o['tag']) and '"style": "json"' not in json.dumps(o['tag']): continue
    cases.setdefault(json.dumps(o['tag']),[]).append(o)
n=0; wrong=0; steps=0; dead=0; budgets=0
end=time.time()+float(sys.argv[2])
items=list(cases.items()); rnd.shuffle(items)
for k,os in items*1000:
    if time.time()>end: break
    texts=[o['text'] for o in os]
    frag=set()
    for t in texts:
        b=t.encode()
        for _ in range(12):
            if not b: break
            i=rnd.randrange(len(b)); j=min(len(b),i+rnd.choice([2,2,3,4,6,9]))
            frag.add(b[i:j])
    toks=[bytes([b]) for b in range(256)]+sorted(frag)+[b'']
    V=guard.Vocabulary.from_bytes(toks,eos=[len(toks)-1])
    try: c=CompiledFormat(json.loads(k),opts)
    except guard.SchemaError as e: continue
    m=c.matcher(V)
    if m.distance()<0: print('EMPTY',k[:300]); continue
    goal=rnd.choice([None,*texts]); gb=(goal or '').encode(); pos=0
    use=rnd.random()<.5
    rem=m.distance()+rnd.choice([0,1,2,5,20]) if use else None
    for step in range(60):
        row=allocate_bitmask(1,len(toks)); row2=allocate_bitmask(1,len(toks))
        m.fill_bitmask(row,0,remaining=rem) if use else m.fill_bitmask(row)
        (m.fill_bitmask_by_bytes(row2,remaining=rem) if use else m.fill_bitmask_by_bytes(row2))
        bits=np.unpackbits(row.view(np.uint8),bitorder='little')[:len(toks)]
        bits2=np.unpackbits(row2.view(np.uint8),bitorder='little')[:len(toks)]
        if (bits!=bits2).any():
            d=np.nonzero(bits!=bits2)[0]; wrong+=len(d); print('FACTOR',use,rem,k[:400],[(toks[i],bits[i],bits2[i]) for i in d[:5]]); break
        if step<12:
          for t in range(len(toks)):
            mm=m.copy(); ok=mm.accept(t)
            if ok and use:
                d=0 if t==len(toks)-1 else mm.distance(); ok = d>=0 and 1+d<=rem
            n+=1
            if ok!=bool(bits[t]): wrong+=1; print('WRONG',use,rem,k[:600],toks[t],ok,bits[t],gb[:pos]); break
        al=np.nonzero(bits)[0]
        if len(al)==0: dead+=1; print('DEAD',use,rem,k[:500]); break
        # follow goal text if possible
        ch=[t for t in al if toks[t] and gb[pos:pos+len(toks[t])]==toks[t]]
        t=rnd.choice(ch) if ch and rnd.random()<.9 else rnd.choice(al)
        assert m.accept(int(t)); pos+=len(toks[t]); steps+=1
        if use: rem-=1
        if t==len(toks)-1: break
    if wrong>3: break
print('verdicts',n,'steps',steps,'wrong',wrong,'dead',dead)
