import json,time,sys
import numpy as np, guard
from guard.kernels import allocate_bitmask
from guard.schemas.structural.compiled import CompiledFormat
from guard.schemas.compiled import Options
from transformers import PreTrainedTokenizerFast
import glob
tk=PreTrainedTokenizerFast(tokenizer_file=glob.glob('/work/shared/data/qwen3-tokenizer/tokenizer.json')[0])
V=guard.Vocabulary.from_tokenizer(tk,eos=[tk.convert_tokens_to_ids('<|im_end|>')])
d=json.load(open('/work/shared/data/mcp-tools.json'))
tools=[]
def walk(x):
    if isinstance(x,dict):
        if 'inputSchema' in x: tools.append((x['name'],x['inputSchema']))
        for v in x.values(): walk(v)
    elif isinstance(x,list):
        for v in x: walk(v)
walk(d); print(len(tools))
tools=tools+[(n+'_b',s) for n,s in tools]; tools=tools[:103]
def tagof():
    return {"type":"structural_tag","format":{"type":"triggered_tags","triggers":["<tool_call>"],"tags":[{"begin":'<tool_call>\n{"name": "%s", "arguments": '%n,"content":{"type":"json_schema","json_schema":s},"end":"}\n</tool_call>"} for n,s in tools],"at_least_one":False}}
opts=Options()
row=allocate_bitmask(1,len(tk))
for rep in range(3):
    t0=time.process_time(); c=CompiledFormat(tagof(),opts); t1=time.process_time(); m=c.matcher(V); m.fill_bitmask(row); t2=time.process_time()
    print('compile %.2f ms first mask %.2f ms'%((t1-t0)*1e3,(t2-t1)*1e3))
text='I will look. <tool_call>\n{"name": "%s", "arguments": {'%tools[5][0]
import collections
ts=[]
for tok in tk.encode(text,add_special_tokens=False):
    t=time.process_time(); m.fill_bitmask(row); ts.append((time.process_time()-t)*1e6); 
    if not m.accept(tok): print('refused',tk.decode([tok])); break
print([round(x) for x in ts])
m2=c.matcher(V); ts=[]
for tok in tk.encode(text,add_special_tokens=False):
    t=time.process_time(); m2.fill_bitmask(row); ts.append((time.process_time()-t)*1e6); m2.accept(tok)
print([round(x) for x in ts])
t=time.process_time(); print(m2.distance(), (time.process_time()-t)*1e3,'ms')
m3=c.matcher(V); t=time.process_time(); m3.fill_bitmask(row,remaining=100); print((time.process_time()-t)*1e3,'ms budget'); t=time.process_time(); m3.fill_bitmask(row,remaining=100); print((time.process_time()-t)*1e3,'ms budget')
