"""Antonyms of English words that carry sentiment, from WordNet 3.0.

The words are those of VADER's lexicon (vaderSentiment 3.3.2) of which WordNet has a direct antonym (pointer ``!``) of
one word. Antonyms of the same sign in VADER are left out. Of several, one of the opposite sign comes first, and then
that of the sense which WordNet's concordance counts most often.

WordNet is used under its licence:

This software and database is being provided to you, the LICENSEE, by
Princeton University under the following license.  By obtaining, using
and/or copying this software and database, you agree that you have
read, understood, and will comply with these terms and conditions.:

Permission to use, copy, modify and distribute this software and
database and its documentation for any purpose and without fee or
royalty is hereby granted, provided that you agree to comply with
the following copyright notice and statements, including the disclaimer,
and that the same appear on ALL copies of the software, database and
documentation, including modifications that you make for internal
use or for distribution.

WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved.

THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON
UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES, EXPRESS OR
IMPLIED.  BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON
UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES OF MERCHANT-
ABILITY OR FITNESS FOR ANY PARTICULAR PURPOSE OR THAT THE USE
OF THE LICENSED SOFTWARE, DATABASE OR DOCUMENTATION WILL NOT
INFRINGE ANY THIRD PARTY PATENTS, COPYRIGHTS, TRADEMARKS OR
OTHER RIGHTS.

The name of Princeton University or Princeton may not be used in
advertising or publicity pertaining to distribution of the software
and/or database.  Title to copyright in this software, database and
any associated documentation shall at all times remain with
Princeton University and LICENSEE agrees to preserve same.
"""

_PAIRS = """
ability=inability absolve=blame abused=unabused accept=reject acceptability=unacceptability acceptable=unacceptable
acceptably=unacceptably acceptance=rejection accidentally=deliberately acquit=convict active=inactive
actively=passively activeness=inactiveness adequate=inadequate admit=deny adorned=unadorned advantage=disadvantage
advantageous=disadvantageous advantageously=disadvantageously adventurous=unadventurous affected=unaffected
aggressive=unaggressive agitate=calm agitated=unagitated agitation=calmness agree=disagree agreeable=disagreeable
agreeableness=disagreeableness agreeably=disagreeably agreement=disagreement alarming=unalarming alert=unalert
alive=dead allow=deny ambitious=unambitious angry=unangry antagonist=agonist antagonistic=conciliatory anti=pro
applaud=boo appreciate=depreciate appreciation=depreciation appreciatively=unappreciatively approval=disapproval
argumentative=unargumentative ashamed=unashamed ashamedly=unashamedly asset=liability attack=defend attract=repel
attraction=repulsion attractive=unattractive attractively=unattractively attractiveness=unattractiveness
awkward=graceful awkwardness=gracefulness backed=backless bad=good badly=well beautiful=ugly beautify=uglify
beauty=ugliness beneficed=unbeneficed beneficence=maleficence beneficent=maleficent benevolence=malevolence
benevolently=malevolently benign=malign benignancy=malignancy benignity=malignity best=worst better=worse
blame=absolve bless=curse blessed=cursed blind=sighted block=unblock bloody=bloodless bold=timid boldness=timidity
bore=interest boycott=patronise brave=cowardly bright=dull brighten=darken brightness=dullness broken=unbroken
burden=unburden burdened=unburdened calm=agitate calmness=agitation capable=incapable careful=careless
carefully=carelessly carefulness=carelessness careless=careful carelessly=carefully carelessness=carefulness
cautious=incautious censored=uncensored certain=uncertain certainty=uncertainty charged=uncharged
charitable=uncharitable cheer=complain cheerful=depressing cheerfully=cheerlessly cheerfulness=cheerlessness
cheerlessly=cheerfully cheerlessness=cheerfulness clarity=obscurity clean=dirty clear=unclear cleared=uncleared
comedy=tragedy comfort=discomfort comfortable=uncomfortable comfortably=uncomfortably committed=uncommitted
compassionate=uncompassionate competent=incompetent competitive=noncompetitive complain=cheer
complaining=uncomplaining complainingly=uncomplainingly complimentary=uncomplimentary comprehensive=noncomprehensive
confidence=diffidence confident=diffident confused=clearheaded considerate=inconsiderate consolable=inconsolable
contemptible=estimable contented=discontented contentment=discontentment contestable=incontestable
controversial=uncontroversial controversially=uncontroversially convinced=unconvinced convincing=unconvincing
convincingly=unconvincingly cool=heat courage=cowardice courteous=discourteous courtesy=discourtesy cowardly=brave
creative=uncreative creativeness=uncreativeness credit=debit creditor=debtor critical=uncritical criticize=praise
cry=laugh curious=incurious curse=bless cut=uncut damaged=undamaged danger=safety dangerous=safe
dangerousness=safeness darkness=lightness dead=alive death=birth deceive=undeceive decisive=indecisive
dedicated=undedicated defeat=victory defeated=undefeated defence=offence defense=offense defensive=offensive
defiant=compliant deficit=lead definite=indefinite degrade=aggrade dehumanize=humanize dejected=elated delay=rush
delicate=rugged demand=supply demanding=undemanding deny=admit depress=elate depressant=stimulative
depressing=cheerful depression=elation deprive=enrich desirable=undesirable desirous=undesirous despair=hope
destroyed=preserved destructibility=indestructibility destructible=indestructible destructive=constructive
destructiveness=constructiveness detached=attached determinable=indeterminable determinate=indeterminate
determined=undetermined difficult=easy difficulty=ease diffident=confident dignified=undignified dirty=clean
disabling=enabling disadvantage=advantage disadvantageous=advantageous disadvantageously=advantageously
disagree=agree disagreeable=agreeable disagreeableness=agreeableness disagreeably=agreeably disagreement=agreement
disappear=appear disbelieve=believe discomfort=comfort discontented=contented discourage=encourage
discouragement=encouragement discouraging=encouraging discouragingly=encouragingly dishearten=hearten
dishonest=honest disinclined=inclined dislike=like disliked=liked disorder=order disorganized=organized
disparage=flatter displeased=pleased disrespect=respect dissatisfaction=satisfaction dissatisfy=satisfy
distrust=trust distrustful=trustful distrustfully=trustfully drained=undrained dull=bright dullness=brightness
dynamic=undynamic eager=uneager ease=difficulty easy=difficult effective=ineffective effectively=ineffectively
efficiency=inefficiency efficient=inefficient efficiently=inefficiently elated=dejected elation=depression
elegance=inelegance elegant=inelegant elegantly=inelegantly embarrassment=disembarrassment emotional=cerebral
emptiness=fullness empty=full enchanted=disenchanted encourage=discourage encouragement=discouragement
encouraging=discouraging encouragingly=discouragingly energetic=lethargic engage=disengage enjoy=suffer
enlightened=unenlightened enlightening=unenlightening enterprising=unenterprising enthusiastic=unenthusiastic
enthusiastically=unenthusiastically ethical=unethical euphoria=dysphoria euphoric=dysphoric evil=good
evilness=goodness excitable=unexcitable excited=unexcited exciting=unexciting excitingly=unexcitingly exclude=admit
exclusion=inclusion exclusive=inclusive exempt=nonexempt exhausted=unexhausted exhaustible=inexhaustible
expand=contract exploited=unexploited fail=succeed failing=passing failure=success fair=unfair faithful=unfaithful
faithfully=unfaithfully faithfulness=unfaithfulness falling=rising falsify=correct fame=infamy fatal=nonfatal
favorable=unfavorable favorableness=unfavorableness favorably=unfavorably fear=fearlessness fearfully=fearlessly
fearfulness=fearlessness fearlessly=fearfully fearlessness=fear fine=coarse fire=hire fit=unfit fitness=unfitness
flatter=disparage flattering=unflattering flexibility=inflexibility flexible=inflexible flexibly=inflexibly
focused=unfocused foe=friend foolish=wise foolishly=wisely forbid=permit forget=remember forgivably=unforgivably
forgiving=unforgiving forgivingly=unforgivingly fortunate=unfortunate free=unfree freelance=salaried freeze=boil
fresh=stale friend=foe friendliness=unfriendliness friendly=unfriendly gain=loss generosity=stinginess
generous=stingy glad=sad glorious=inglorious good=bad goodness=evilness graceful=awkward gracefully=gracelessly
gracefulness=awkwardness gracious=ungracious graciously=ungraciously graciousness=ungraciousness grateful=ungrateful
gratefully=ungratefully gratitude=ingratitude greater=lesser gross=net guilt=innocence guilty=innocent
happily=unhappily happiness=unhappiness happy=unhappy hard=soft harmfully=harmlessly harmless=harmful
harmlessly=harmfully harmonic=nonharmonic harmonious=inharmonious harmony=dissonance hate=love hateful=lovable
healthy=unhealthy heaven=hell heavenly=earthly hell=heaven helpful=unhelpful helpfully=unhelpfully
hesitantly=unhesitatingly hide=show honest=dishonest honestly=dishonestly honesty=dishonesty honor=dishonor
honorable=dishonorable honorableness=dishonorableness honorably=dishonorably hope=despair hopeful=hopeless
hopefully=hopelessly hopefulness=hopelessness hopeless=hopeful hopelessly=hopefully hopelessness=hopefulness
hostile=friendly humorless=humorous humorous=humorless humorously=humorlessly ignore=notice ill=well illegal=legal
illiteracy=literacy illness=wellness immoral=moral immorality=morality immorally=morally immortal=mortal
impatience=patience impatient=patient impatiently=patiently imperfect=perfect impersonal=personal impolite=polite
impolitely=politely impoliteness=politeness importance=unimportance important=unimportant impotent=potent
impressionable=unimpressionable impressive=unimpressive impressively=unimpressively improved=unimproved
improvement=decline inability=ability inaction=action inadequacy=adequacy inadequate=adequate
inadequately=adequately incapable=capable incentive=disincentive incompetence=competence incompetent=competent
inconsiderate=considerate inconvenience=convenience inconvenient=convenient increase=decrease increased=decreased
indecision=decision indecisive=decisive indecisively=decisively indecisiveness=decisiveness
indestructible=destructible ineffective=effective ineffectively=effectively ineffectiveness=effectiveness
ineffectually=effectually inferior=superior inferiority=superiority influential=uninfluential inhibited=uninhibited
inhibitor=activator injured=uninjured injustice=justice innocence=guilt innocent=guilty insane=sane insanity=sanity
insecure=secure insecurely=securely insecureness=secureness insecurity=security insensitive=sensitive
insensitivity=sensitivity insignificant=significant insincere=sincere insincerely=sincerely insincerity=sincerity
inspiring=uninspiring intellectual=nonintellectual intelligence=stupidity intelligent=unintelligent
intelligently=unintelligently intelligibility=unintelligibility intelligible=unintelligible
intelligibly=unintelligibly intense=mild interest=bore interested=uninterested interesting=uninteresting
interestingly=uninterestingly interestingness=uninterestingness invigorating=debilitating inviting=uninviting
invulnerable=vulnerable irrational=rational irrationally=rationally irresistible=resistible irresolute=resolute
irresponsible=responsible irreversible=reversible irritate=soothe join=disjoin joy=sorrow joyful=sorrowful
joyfully=joylessly joyless=joyous joylessly=joyfully joyous=joyless justice=injustice justifiably=unjustifiably
kind=unkind kindly=unkindly kindness=unkindness lamented=unlamented laugh=cry leave=arrive legal=illegal
lethargic=energetic liability=asset libertarian=necessitarian like=dislike liked=disliked liking=dislike
limited=unlimited lively=dull loose=compact lose=win loser=winner loss=gain lossy=lossless lost=saved
lovable=hateful love=hate loved=unloved loving=unloving low=high lowborn=noble lower=raise lowercase=uppercase
lowered=raised lowland=highland lowness=highness loyal=disloyal loyally=disloyally loyalty=disloyalty
luckily=unluckily lucky=unlucky masochist=sadist masochistic=sadistic mature=immature meaningful=meaningless
meaningless=meaningful merit=demerit merited=unmerited misbehave=behave miss=attend motivated=unmotivated
naive=sophisticated nastiness=niceness nasty=nice natural=unnatural negative=positive negativity=positivity
neurotic=unneurotic nice=nasty niceness=nastiness no=yes noble=lowborn noisy=quiet odd=even offence=defence
offending=unoffending offense=defense offensive=defensive offensively=inoffensively openness=closeness
opportune=inopportune opportunely=inopportunely opportuneness=inopportuneness optimism=pessimism optimist=pessimist
optimistic=pessimistic optimistically=pessimistically original=unoriginal outgoing=incoming
overstatement=understatement pain=pleasure painful=painless painfully=painlessly painless=painful
painlessly=painfully palatable=unpalatable palatably=unpalatably passionate=passionless passionless=passionate
passively=actively peace=war peaceful=unpeaceful penalty=reward perfect=imperfect perfectibility=imperfectibility
perfection=imperfection perfectly=imperfectly perplexed=unperplexed pessimism=optimism pessimist=optimist
pessimistic=optimistic pessimistically=optimistically playful=unplayful pleasant=unpleasant pleasantly=unpleasantly
pleasantness=unpleasantness please=displease pleased=displeased pleasing=displeasing pleasure=pain poor=rich
popular=unpopular popularity=unpopularity positive=negative positiveness=negativeness positivity=negativity
poverty=wealth powerful=powerless powerless=powerful praise=criticize prejudiced=unprejudiced prepared=unprepared
pressurise=depressurise prevent=let pride=humility privileged=underprivileged proactive=retroactive profit=lose
profitability=unprofitability profitable=unprofitable profitableness=unprofitableness profitably=unprofitably
progress=regress promote=demote prosecute=defend prosecution=defense protected=unprotected proud=humble
punished=unpunished punitive=rehabilitative questionable=unquestionable ready=unready reassure=worry
reassuring=unreassuring refuse=accept regretful=unregretful reject=accept rejection=acceptance rejective=acceptive
relax=tense relaxed=tense repetitive=nonrepetitive resentful=unresentful resolute=irresolute respect=disrespect
respectability=unrespectability respectable=unrespectable respectful=disrespectful respectfully=disrespectfully
responsible=irresponsible responsive=unresponsive restful=restless restless=restful restrict=derestrict
restricted=unrestricted retarded=precocious retreat=advance reward=penalty rewarding=unrewarding rich=poor
rigged=unrigged rigid=nonrigid robust=frail romantically=unromantically romanticism=classicism
romanticist=classicist sad=glad sadden=gladden sadly=happily sadness=happiness safe=dangerous safeness=dangerousness
safety=danger sarcastic=unsarcastic satisfaction=dissatisfaction satisfactorily=unsatisfactorily
satisfactoriness=unsatisfactoriness satisfactory=unsatisfactory satisfy=dissatisfy saved=lost screw=unscrew
secure=insecure securely=insecurely secureness=insecureness security=insecurity selfish=unselfish
selfishly=unselfishly selfishness=unselfishness sentimentally=unsentimentally serious=frivolous
seriousness=frivolity sexy=unsexy shared=unshared shockable=unshockable significance=insignificance
significant=insignificant sincere=insincere sincerely=insincerely smart=stupid smilingly=unsmilingly
sociability=unsociability sociable=unsociable sociably=unsociably solid=gaseous solved=unsolved soothe=irritate
sophisticated=naive sorrow=joy sorrowful=joyful sparkling=still spirited=spiritless spiritless=spirited
stable=unstable starve=feed stimulate=stifle stimulating=unstimulating stingy=generous stop=start straight=crooked
strain=unstrain strange=familiar strength=weakness strengthen=weaken strengthening=weakening stressed=unstressed
strong=weak strongly=weakly stubborn=docile stuck=unstuck stupid=smart stupidity=intelligence submissive=domineering
substantial=insubstantial succeed=fail succeeding=preceding success=failure successful=unsuccessful
successfully=unsuccessfully suffer=enjoy superior=inferior superiority=inferiority supported=unsupported
supportive=unsupportive sure=unsure surprised=unsurprised surprising=unsurprising suspected=unsuspected sweet=sour
sympathetic=unsympathetic talented=untalented tense=relax thoughtful=thoughtless thoughtfully=thoughtlessly
thoughtfulness=thoughtlessness thoughtless=thoughtful timid=bold timidity=boldness tired=rested
tolerance=intolerance tolerant=intolerant tolerantly=intolerantly toothless=toothed top=bottom tough=tender
tragedy=comedy troubled=untroubled true=false trust=distrust trustful=distrustful trustfully=distrustfully
trustiness=untrustiness trustworthiness=untrustworthiness trustworthy=untrustworthy truth=falsity
truthful=untruthful truthfully=untruthfully truthfulness=untruthfulness uglify=beautify ugliness=beauty
ugly=beautiful unacceptable=acceptable unattractive=attractive unaware=aware uncertain=certain uncertainty=certainty
unclear=clear uncomfortable=comfortable uncomfortably=comfortably unconcerned=concerned unconfirmed=confirmed
uncontrolled=controlled unconvinced=convinced underestimate=overestimate undesirable=desirable uneasy=easy
unemployment=employment unequal=equal unethical=ethical unfair=fair unfocused=focused unfortunate=fortunate
unfortunately=fortunately unfriendly=friendly ungrateful=grateful ungratefully=gratefully unhappily=happily
unhappiness=happiness unhappy=happy unhealthy=healthy unimportant=important unimpressive=impressive
unintelligent=intelligent uninvolved=involved united=divided unjust=just unkind=kind unloved=loved unloving=loving
unmotivated=motivated unpleasant=pleasant unprofessional=professional unprotected=protected unsavory=savory
unsettled=settled unstable=stable unstoppable=stoppable unsuccessful=successful unsuccessfully=successfully
unsupported=supported unsure=sure unwanted=wanted unwelcome=welcome unworthy=worthy useful=useless
usefully=uselessly usefulness=uselessness useless=useful uselessly=usefully uselessness=usefulness
validate=invalidate valuable=worthless violent=nonviolent violently=nonviolently virtuous=wicked virulent=avirulent
vitalize=devitalize vulnerability=invulnerability vulnerable=invulnerable war=peace warmhearted=coldhearted
waste=conserve weak=strong weaken=strengthen weakening=strengthening weakly=strongly weakness=strength
wealth=poverty welcome=unwelcome well=ill wellness=illness wicked=virtuous willingness=unwillingness win=lose
winner=loser winnings=losings wisdom=folly wise=foolish wisely=foolishly wish=begrudge won=lost worn=new
worry=reassure worse=better worsen=better worsening=bettering worst=best worth=worthlessness worthless=valuable
worthy=unworthy wrong=right yes=no
"""

ANTONYMS = dict(pair.split("=") for pair in _PAIRS.split())
